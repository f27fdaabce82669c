"""The second, simpler model: what must be true of a world that has come to rest.

It shares no rule with the core: it knows the events that were planned, the outcomes that a
`read_committed` reader sees, and the PIM's state.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.file_auditor import Address, FileAuditor
from tests.simulation.media import ATTRIBUTES
from tests.simulation.pim import SimPim
from tests.simulation.plan import POLL_RECORDS_MAX, UNKNOWN_FAMILY, Plan, PlannedRecord


@dataclass
class Auditor:
    """Collects what is visible, then judges."""

    plan: Plan
    written: dict[Address, PlannedRecord] = field(default_factory=dict)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[tuple[bytes | None, bytes | None, dict[str, bytes | None]]] = field(
        default_factory=list
    )
    waived: set[tuple[str, str]] = field(default_factory=set)
    """Assets with a request that was given up and landed late (P2 assumes there is none)."""
    outlived: list[str] = field(default_factory=list)
    """Calls that a replica, awake, let land when their assignment was over (architecture.md D8)."""
    pending_max: int = 0
    settled_at: float = 0.0
    """When the last outcome became visible."""
    calls_at_once_max: int = 0
    deletes: dict[tuple[int, int, str], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """When a replica was told, in an assignment, that it deleted an asset of a family, as long as
    no person let its deletes go."""
    limits_reached: int = 0
    """Times that a replica stopped because of too many dead letters."""

    def __post_init__(self) -> None:
        self.files = FileAuditor(self.plan)

    def see_outcome(self, value: bytes, replica: int, now: float) -> None:
        """A committed outcome."""
        outcome = json.loads(value)
        self.outcomes.append(outcome)
        self.files.see_settled(replica, _address_of(outcome["data"]), now)

    def verdict(self, pim: SimPim) -> list[str]:
        """Everything that is wrong; an empty list is a good world."""
        return [
            *self._each_exactly_once(),
            *self._each_asset_in_order(),
            *self._each_status_is_true(pim),
            *self._dead_letters_are_the_records(),
            *self._pim_is_the_replay(pim),
            *self._outages_fail_nobody(),
            *self._deletes_are_few(),
            *self._memory_is_bounded(),
            *self._files_keep_their_limits(),
            *self._everything_settles_in_time(),
            *(f"{call}: it outlived its assignment" for call in self.outlived),
        ]

    @property
    def settled(self) -> int:
        """Outcomes seen so far."""
        return len(self.outcomes)

    def _each_exactly_once(self) -> list[str]:
        seen: dict[str, int] = defaultdict(int)
        for outcome in self.outcomes:
            seen[outcome["id"]] += 1
        wanted = {f"events/{partition}/{offset}" for partition, offset in self.written}
        flaws = [f"{id_}: {count} outcomes" for id_, count in seen.items() if count > 1]
        flaws += [f"{id_}: no outcome" for id_ in sorted(wanted - seen.keys())]
        flaws += [f"{id_}: an outcome of nothing" for id_ in sorted(seen.keys() - wanted)]
        return flaws

    def _each_asset_in_order(self) -> list[str]:
        flaws = []
        last: dict[tuple[str, str], int] = {}
        for outcome in self.outcomes:
            data = outcome["data"]
            if data["status"] == "skipped" or data["reason"] in {"undecodable", "invalid_event"}:
                continue
            asset = (data["asset_family"], data["code"])
            offset = data["origin"]["offset"]
            if offset < last.get(asset, -1):
                flaws.append(f"{outcome['id']}: overtaken by {last[asset]}")
            last[asset] = max(offset, last.get(asset, -1))
        return flaws

    def _each_status_is_true(self, pim: SimPim) -> list[str]:
        by_id = {outcome["id"]: outcome["data"] for outcome in self.outcomes}
        flaws = []
        for id_, data in by_id.items():
            record = self.written.get(_address_of(data))
            if record is None:
                continue
            flaw = (
                _flaw_of_status(record, data, by_id)
                or self._flaw_of_files(record, data)
                or self.files.flaw_of(record, data, pim.uploaded)
            )
            if flaw:
                flaws.append(f"{id_}: {flaw}")
        return flaws

    def _flaw_of_files(self, record: PlannedRecord, data: dict[str, Any]) -> str | None:
        """Whether the outcome fits what is wrong, or not, with the files of a record."""
        media = self.plan.limits.media
        reason = data["reason"]
        is_well = self.plan.trouble != "everything" and not self.files.may_fail(
            data["message"] or ""
        )
        if reason == "media_failed" and is_well:
            return "its file could not be fetched, though every host is well"
        may_be_refused = record.flaws - {"refused", "poison"} or self._may_outlive_digest(record)
        if reason == "media_refused" and not may_be_refused:
            return "its file was refused, though nothing is wrong with it"
        is_own = data["status"] == "applied" and data["result"] != "merged"
        # Without the family's structure, extensions are left to the PIM; this one takes them all.
        is_known = self.plan.reads_structure and self.plan.trouble == "calm"
        unchecked = {"poison"} if is_known else {"poison", "wrong extension"}
        if is_own and record.flaws - unchecked:
            # only a later change that it was merged into may have replaced the file
            return f"applied, though a file is bad ({sorted(record.flaws)})"
        is_refused = reason == "refused_by_pim" and "bad" not in record.values
        may_be = "refused" in record.flaws or (media is not None and media.forgets_at)
        return "refused by the PIM without a reason" if is_refused and not may_be else None

    def _files_keep_their_limits(self) -> list[str]:
        return [f"replica {number}: {flaw}" for number, flaw in sorted(self.files.flaws)]

    def _may_outlive_digest(self, record: PlannedRecord) -> bool:
        """Whether a file of the record may be another one by now than the event says."""
        media = self.plan.limits.media
        changed = media.changes.contents if media is not None else {}
        return any(file.sha256 and file.url in changed for file in record.files.values())

    def _dead_letters_are_the_records(self) -> list[str]:
        dead = {
            outcome["id"]
            for outcome in self.outcomes
            if outcome["data"]["status"] in {"rejected", "failed"}
        }
        buried = []
        flaws = []
        for key, value, headers in self.dead_letters:
            id_ = (headers["dlq.outcome.id"] or b"").decode()
            buried.append(id_)
            _, partition, offset = id_.split("/")
            record = self.written[int(partition), int(offset)]
            if (key, value) != (record.key, record.value):
                flaws.append(f"{id_}: its dead letter differs from the record")
        if sorted(buried) != sorted(dead):
            flaws.append(f"dead letters {sorted(buried)} are not the dead {sorted(dead)}")
        return flaws

    def _pim_is_the_replay(self, pim: SimPim) -> list[str]:
        ends = {_address_of(outcome["data"]): outcome["data"] for outcome in self.outcomes}
        replay: dict[tuple[str, str], dict[str, str]] = {}
        uncertain = set(self.waived)
        for address in sorted(self.written):
            record = self.written[address]
            asset = pim.identity(*record.asset)
            end = ends.get(address)
            if end is None:
                continue
            if self._may_be_applied(record, end):
                uncertain.add(asset)
            if end["status"] != "applied":
                continue
            if record.kind == "delete":
                replay.pop(asset, None)
            else:
                replay.setdefault(asset, {}).update(record.values | _contents(end, pim))
        has = pim.assets
        return [
            f"{'/'.join(asset)}: the PIM has {has.get(asset)}, the replay {replay.get(asset)}"
            for asset in sorted(has.keys() | replay.keys())
            if asset not in uncertain and has.get(asset) != replay.get(asset)
        ]

    def _may_be_applied(self, record: PlannedRecord, end: dict[str, Any]) -> bool:
        """Whether the PIM may have a change that did not end as applied.

        It may have applied what it did not answer. A change ends as refused after that only where
        the PIM forgot its file before it was asked again, or where another replica went on, and
        its file was another one by then.
        """
        media = self.plan.limits.media
        forgets = media is not None and media.forgets_at and record.values.keys() & set(ATTRIBUTES)
        is_refused = end["reason"] == "refused_by_pim"
        is_other = end["reason"] == "media_refused" and self._may_outlive_digest(record)
        return end["status"] == "failed" or is_other or bool(is_refused and forgets)

    def _deletes_are_few(self) -> list[str]:
        """No replica deletes more of a family in an hour, before a person has looked."""
        most = self.plan.limits.deletes_per_hour_max
        return [
            f"replica {replica} deleted more than {most} assets of {family} in an hour"
            for (replica, _, family), times in self.deletes.items()
            if most
            and any(later - first < 3600 for first, later in zip(times, times[most:], strict=False))
        ]

    def _memory_is_bounded(self) -> list[str]:
        """Pending changes stay below their limit and what one poll of each partition brings."""
        most = self.plan.pending_max + self.plan.partitions * POLL_RECORDS_MAX
        return (
            [f"{self.pending_max} changes were held, {most} may be"]
            if self.pending_max > most
            else []
        )

    def _everything_settles_in_time(self) -> list[str]:
        """Liveness: after the last fault every change has its outcome within a stated time."""
        last = self.plan.last_fault_at
        took, most = self.settled_at - last, self.plan.completes_within
        return [f"settled {took:.0f} s after the last fault, not {most:.0f}"] if took > most else []

    def bounds(self) -> Iterator[str]:
        """Limits that the outcomes tell of."""
        for outcome in self.outcomes:
            data = outcome["data"]
            message = data["message"] or ""
            if "Given up after" in message:
                yield "retry budget"
            elif "Given up early" in message:
                yield "share in repair"
            elif data["reason"] == "unknown_family" and not data["attempts"]:
                yield "unknown families remembered"

    def _outages_fail_nobody(self) -> list[str]:
        if self.plan.trouble == "everything":
            return []
        return [
            f"{outcome['id']}: failed, though only outages were injected"
            for outcome in self.outcomes
            if outcome["data"]["status"] == "failed"
            and not self.files.may_fail(outcome["data"]["message"] or "")
        ]


def _address_of(data: dict[str, Any]) -> Address:
    return data["origin"]["partition"], data["origin"]["offset"]


def _contents(data: dict[str, Any], pim: SimPim) -> dict[str, str]:
    """What an asset has, by its outcome, for the attributes whose values are files."""
    return {
        file["attribute"]: pim.uploaded[file["code"]]
        for file in data["media"] or []
        if file["code"] is not None
    }


def _flaw_of_status(
    record: PlannedRecord, data: dict[str, Any], by_id: dict[str, dict[str, Any]]
) -> str | None:
    status = data["status"]
    if record.kind == "broken":
        return None if status == "rejected" else f"broken, but {status}"
    if status == "superseded":
        by = by_id.get(data["superseded_by"])
        if by is None or by["status"] != "applied" or by["action"] != "delete":
            return "superseded by no applied delete"
    if status == "applied" and data["result"] == "merged":
        into = by_id.get(data["merged_into"])
        if into is None or into["status"] != "applied":
            return "merged into no applied change"
    if status == "applied" and "bad" in record.values:
        # overwritten by a merged later change it would not have been judged; it never is here
        return "applied, though the PIM refuses it"
    may_be_rejected = (
        "bad" in record.values
        or any(attribute in record.values for attribute in ATTRIBUTES)  # see `_flaw_of_files`
        or record.asset[0].startswith(UNKNOWN_FAMILY)
    )
    if status == "rejected" and not may_be_rejected:
        return f"rejected ({data['reason']}), though nothing is wrong with it"
    return None
