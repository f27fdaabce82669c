"""What must be true of the files of a world: contents, and who is blamed (contract.md §9).

It shares no rule with the core: it knows what each URL led to and when, what the PIM was given
under each code, and what failed where.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.core.inputs import DownloadEnd, DownloadFault
from service.core.media.queue import FAILURES_MAX
from tests.simulation.media import NO_FAULTS, DiskPlan
from tests.simulation.plan import Plan, PlannedRecord
from tests.support.file_source import FILE_BYTES, sha256_of

TRIES = re.compile(r"Given up after (\d+) tries\. The file (\S+) could not be fetched")
HOST_BLAMED = re.compile(r"no file of (\S+) can be fetched at present")
DISK_BLAMED = "the disk of asset-sync takes no file"

Address = tuple[int, int]
"""Partition and offset."""


@dataclass
class FileAuditor:
    """Collects what happened to files, then judges what outcomes say of them."""

    plan: Plan
    flaws: set[tuple[int, str]] = field(default_factory=set)
    """Limits on files that a replica did not keep."""
    _read_at: dict[tuple[int, Address], float] = field(default_factory=dict)
    """When each replica read a record last."""
    _settled: dict[Address, tuple[int, float, float]] = field(default_factory=dict)
    """By which replica a record was settled, when that had read it, and when it was settled."""
    _tries: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    """How often a URL failed for a replica, or its file was lost: each uses up a try."""
    _failed: dict[tuple[int, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    """The files for which a host failed a replica."""
    _not_kept_since: dict[int, float] = field(default_factory=dict)
    """When the disk of a replica did not take a file first."""

    # --- what happens ------------------------------------------------------------------------

    def see_read(self, replica: int, address: Address, now: float) -> None:
        """A replica reads a record."""
        self._read_at[replica, address] = now

    def see_settled(self, replica: int, address: Address, now: float) -> None:
        """The outcome of a record is committed."""
        self._settled[address] = replica, self._read_at[replica, address], now

    def see_download(
        self, replica: int, file_id: int, url: str, end: DownloadEnd, now: float
    ) -> None:
        """A download ended."""
        if isinstance(end, DownloadFault) and end.is_of_disk:
            self._not_kept_since.setdefault(replica, now)
        elif isinstance(end, DownloadFault):
            self._tries[replica, url] += 1
            self._failed[replica, url.split("/")[2]].add(file_id)

    def see_lost(self, replica: int, url: str) -> None:
        """A replica was told that a file cannot be uploaded as it was downloaded."""
        self._tries[replica, url] += 1

    # --- what outcomes say -------------------------------------------------------------------

    def flaw_of(
        self, record: PlannedRecord, data: Mapping[str, Any], codes: Mapping[str, str]
    ) -> str | None:
        """What is wrong with what an outcome says of files; `codes` lead to what the PIM got."""
        address = (data["origin"]["partition"], data["origin"]["offset"])
        flaws = (
            *self._flaws_of_blame(address, data["message"] or ""),
            *self._flaws_of_contents(record, address, data, codes),
        )
        return flaws[0] if flaws else None

    def _flaws_of_blame(self, address: Address, message: str) -> Iterator[str]:
        replica, _, settled_at = self._settled[address]
        if found := TRIES.search(message):
            failed = self._tries[replica, found[2]]
            if int(found[1]) > failed:
                yield f"given up after {found[1]} tries, of which {failed} failed"
        if found := HOST_BLAMED.search(message):
            failed = len(self._failed[replica, found[1]])
            if failed < FAILURES_MAX:
                yield f"its host is blamed, which failed for {failed} files"
        if DISK_BLAMED in message:
            seconds = settled_at - self._not_kept_since.get(replica, settled_at)
            if seconds < self.plan.limits.retry_seconds_max:
                yield f"the disk is blamed, which had failed for {seconds:.0f} s"

    def _flaws_of_contents(
        self,
        record: PlannedRecord,
        address: Address,
        data: Mapping[str, Any],
        codes: Mapping[str, str],
    ) -> Iterator[str]:
        media = self.plan.limits.media
        _, read_at, settled_at = self._settled[address]
        for shown in data["media"] or []:
            if shown["code"] is None:
                continue
            assert media is not None, "no event names a file"
            file, content = record.files[shown["attribute"]], codes[shown["code"]]
            if shown["sha256"] != sha256_of(content) or shown["bytes"] not in {None, FILE_BYTES}:
                yield f"its media are not what was uploaded, which is {content!r}"
            elif file.sha256 not in {None, shown["sha256"]}:
                yield f"{file.url} is {content!r}, which has another digest than the event's"
            elif file.sha256 is None and content not in media.contents_since(
                file.url, read_at, settled_at
            ):
                yield f"{file.url} led to {content!r} only before the change was read"

    def may_fail(self, message: str) -> bool:
        """Whether a change may fail by its file although only outages were injected.

        A disk that is full holds others up as any failure does; and the longest delay between two
        tries of it is longer than the shortest retry budget.
        """
        is_short = self.plan.limits.retry_seconds_max < 100
        is_by_disk = "Given up early" in message or (is_short and DISK_BLAMED in message)
        return bool(self._disk.full) and is_by_disk

    @property
    def _disk(self) -> DiskPlan:
        media = self.plan.limits.media
        return media.disk if media is not None else NO_FAULTS
