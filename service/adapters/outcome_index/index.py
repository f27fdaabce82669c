"""The index as a whole: opened or built again, written to, and kept within its limits.

Rule 1: an index that may be wrong is not repaired. It is deleted and built again from the topic,
which has everything.
Rule 2: the newest segment is never dropped, because it has the positions.
Rule 3: `open`, `write` and `close` belong to the one writer thread.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from service.adapters.outcome_index.schema import (
    READ_ERRORS,
    VERSION,
    is_damage,
    open_for_reading,
)
from service.adapters.outcome_index.searchable import Searchable, utc_ms
from service.adapters.outcome_index.segment import (
    NewEntry,
    Segment,
    SegmentWriter,
    Stamp,
    files_of,
    new_segment,
    read_positions,
    read_totals,
    stamp_of,
)
from service.console.entry import StoredOutcome, entry_of
from service.console.facts import (
    IndexOpened,
    IndexRebuilt,
    OutcomesDropped,
    OutcomesIndexed,
    WhyRebuilt,
)
from service.console.query import DAY_MS
from service.core.facts import Fact
from service.ports import FatalError

PARTS = 16
"""A segment has this share of the limits on size and age, so that the oldest go in small steps."""
LOCK_FILE = "lock"


class Limits(NamedTuple):
    """How much the index may keep."""

    max_bytes: int
    days: int


class OutcomeIndex(Searchable):
    """The port `OutcomeStore` in a folder of SQLite files."""

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        note: Callable[[Fact], None],
        now_ms: Callable[[], int] = utc_ms,
    ) -> None:
        super().__init__(limits.days, now_ms)
        self._folder = folder
        self._limits = limits
        self._note = note
        self._writer: SegmentWriter | None = None
        self._topic = ""
        self._last_number = 0
        self._lock: int | None = None
        self._is_damaged = False

    def open(self, topic: str, why: WhyRebuilt | None = None) -> dict[int, int]:
        """Open the index of this topic, or begin a new one; return the next offsets.

        Args:
            topic: the identity of the topic; an index of another one is deleted.
            why: why the present index must not be used, or None.

        Raises:
            FatalError: the folder cannot be used, or another process uses it.
        """
        self.close()
        self._topic = topic
        self._is_damaged = False
        try:
            self._take_folder()
            why = why or self._load()
            if why is not None:
                self._begin_again(why)
            else:
                self._note(IndexOpened(self.outcomes, self.size_bytes))
            return self._read_positions()
        except (OSError, sqlite3.Error) as error:
            raise self._fatal(error) from error

    def write(self, records: Sequence[StoredOutcome], positions: Mapping[int, int]) -> bool:
        """Add the outcomes among the records, and note the next offsets, in one transaction.

        Without records and offsets, it is only looked whether the index is whole.

        Returns:
            False if the index is damaged, so that it must be built again.

        Raises:
            FatalError: the disk is full, or fails.
        """
        if self._is_damaged:
            return False
        try:
            if self._has_lost_files():
                return False
            if positions:
                self._add(records, positions)
        except (OSError, *READ_ERRORS) as error:
            if is_damage(error):
                return False
            raise self._fatal(error) from error
        return True

    def report_damage(self) -> None:
        """Have the index built again by the next `write`: a search met a damaged file."""
        self._is_damaged = True

    def report_damage_up_to(self, newest: int) -> None:
        """Have it built again, unless all segments up to this one are gone already."""
        if self._segments and newest >= self._segments[0].number:
            self.report_damage()

    def close(self) -> None:
        """Close the file that is written to; the positions in it are committed already."""
        if self._writer is not None:
            try:
                self._writer.close()
            except sqlite3.Error:
                self._writer.abandon()
            self._writer = None

    # --- opening -----------------------------------------------------------------------------

    def _take_folder(self) -> None:
        """Make the folder, and lock it against a second process."""
        if self._lock is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise FatalError(
                f"Another process uses the index in {self._folder}: stop it, or set "
                "ASSET_SYNC_CONSOLE__DIR to another directory."
            ) from None
        self._lock = lock

    def _load(self) -> WhyRebuilt | None:
        """Take over the files of an earlier start, or return why they must not be used."""
        segments = files_of(self._folder)
        self._last_number = segments[-1].number if segments else 0
        try:
            kept = [segment for segment in segments if self._is_begun(segment)]
            if not kept:
                return "missing"
            why = self._why_useless(kept)
        except READ_ERRORS as error:
            if not is_damage(error):
                raise
            return "damaged"
        self._segments = tuple(kept)
        return why

    def _is_begun(self, segment: Segment) -> bool:
        """Return whether the segment has a transaction; delete its file if it has none."""
        if self._stamp(segment) is not None:
            return True
        segment.delete()
        return False

    def _why_useless(self, segments: Sequence[Segment]) -> WhyRebuilt | None:
        numbers = [segment.number for segment in segments]
        if numbers != list(range(numbers[0], numbers[-1] + 1)):
            return "damaged"
        stamps = {self._stamp(segment) for segment in segments}
        if any(stamp is not None and stamp.version != VERSION for stamp in stamps):
            return "schema"
        if stamps != {Stamp(VERSION, self._topic)}:
            return "topic"
        for segment in segments:
            connection = open_for_reading(segment.path)
            try:
                read_totals(segment, connection)
                read_positions(connection)  # the newest are used; damaged ones are met here
            finally:
                connection.close()
        return None

    @staticmethod
    def _stamp(segment: Segment) -> Stamp | None:
        connection = open_for_reading(segment.path)
        try:
            return stamp_of(connection)
        finally:
            connection.close()

    def _begin_again(self, why: WhyRebuilt) -> None:
        self._segments = ()
        for segment in files_of(self._folder):
            self._last_number = max(self._last_number, segment.number)
            segment.delete()
        self._note(IndexRebuilt(why))

    def _read_positions(self) -> dict[int, int]:
        if not self._segments:
            return {}
        connection = open_for_reading(self._segments[-1].path)
        try:
            return read_positions(connection)
        finally:
            connection.close()

    # --- writing -----------------------------------------------------------------------------

    def _add(self, records: Sequence[StoredOutcome], positions: Mapping[int, int]) -> None:
        new = [
            NewEntry(record.offset, entry)
            for record in records
            if (entry := entry_of(record)) is not None
        ]
        self._writer_for_next().add(new, positions)
        self._drop()
        self._note(OutcomesIndexed(len(new), len(records) - len(new)))

    def _writer_for_next(self) -> SegmentWriter:
        """Return the writer of the newest segment, which is a new one if the last one is full."""
        if self._writer is not None and self._is_full(self._writer):
            self._writer.close()
            self._writer = None
            return self._begin_segment()
        if self._writer is None and self._segments:
            self._writer = SegmentWriter(self._segments[-1], self._topic)
        return self._writer or self._begin_segment()

    def _is_full(self, writer: SegmentWriter) -> bool:
        segment = writer.segment
        if writer.size_bytes >= self._limits.max_bytes // PARTS:
            return True
        if segment.begun_ms is None or segment.newest_ms is None:
            return False
        return segment.newest_ms - segment.begun_ms >= self._limits.days * DAY_MS // PARTS

    def _begin_segment(self) -> SegmentWriter:
        # A number is never used twice: a search may still have the file of an earlier one open.
        self._last_number += 1
        segment = new_segment(self._folder, self._last_number)
        self._writer = SegmentWriter(segment, self._topic)
        self._segments = (*self._segments, segment)
        return self._writer

    def _drop(self) -> None:
        """Delete the oldest segments that are too old, or too much beside the newest one.

        One part of the limit is left free, into which the newest segment grows.
        """
        allowed = self._limits.max_bytes - self._limits.max_bytes // PARTS
        while len(self._segments) > 1 and (
            self._is_too_old(self._segments[0]) or self.size_bytes > allowed
        ):
            oldest, *rest = self._segments
            size = oldest.size_bytes
            self._segments = tuple(rest)
            oldest.delete()
            self._note(OutcomesDropped(oldest.outcomes, size))

    def _is_too_old(self, segment: Segment) -> bool:
        return segment.newest_ms is not None and segment.newest_ms < self.oldest_wanted_ms

    def _has_lost_files(self) -> bool:
        """Return whether files were deleted, which an operator may do at any time."""
        return any(not segment.path.exists() for segment in self._segments)

    def _fatal(self, error: Exception) -> FatalError:
        return FatalError(
            f"The index in {self._folder} cannot be used: {error}. Check that the directory of "
            "ASSET_SYNC_CONSOLE__DIR can be written to and has room for "
            "ASSET_SYNC_CONSOLE__MAX_BYTES. It may be deleted: it is built again from Kafka."
        )
