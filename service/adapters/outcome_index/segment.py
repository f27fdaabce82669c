"""One segment of the index: its file, and how outcomes are added to it."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from service.adapters.outcome_index.schema import (
    APPLICATION_ID,
    READ_ERRORS,
    TABLES,
    VERSION,
    DamagedError,
    open_for_writing,
)
from service.console.entry import Ending, Entry, fold, hash_of
from service.console.query import age_of, ms_of

_PATTERN = "outcomes-*.sqlite"
_SUFFIXES = ("-wal", "-shm", "-journal", "")
"""What SQLite appends to the name of the file for the files beside it; the file itself comes last,
so that a crash in between leaves no log without its file."""

_encode = msgspec.msgpack.Encoder().encode


class NewEntry(NamedTuple):
    """An entry to add, with its offset, which orders what was written in one millisecond."""

    offset: int
    entry: Entry


@dataclass(eq=False)
class Segment:
    """A file of the index. `number` grows with each new segment."""

    number: int
    path: Path
    outcomes: int = 0
    oldest_ms: int | None = None
    newest_ms: int | None = None
    begun_ms: int | None = None
    """The newest time of the first batch, from which the span of the segment counts."""

    @property
    def size_bytes(self) -> int:
        """The bytes of the file, and of those that SQLite keeps beside it."""
        return sum(_size(self.path.with_name(self.path.name + end)) for end in _SUFFIXES)

    def delete(self) -> None:
        """Delete the files; searches that have them open go on to their ends."""
        for end in _SUFFIXES:
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)


class Stamp(NamedTuple):
    """What a segment belongs to: the version of its tables, and the identity of the topic."""

    version: int
    topic: str


def files_of(folder: Path) -> list[Segment]:
    """Return the segments of a folder in ascending order, as their names tell them."""
    found = ((path.stem.rpartition("-")[2], path) for path in folder.glob(_PATTERN))
    return sorted(
        (Segment(int(number), path) for number, path in found if number.isdecimal()),
        key=lambda segment: segment.number,
    )


def new_segment(folder: Path, number: int) -> Segment:
    """Return a segment whose file does not exist yet."""
    return Segment(number, folder / f"outcomes-{number:08}.sqlite")


class SegmentWriter:
    """Adds outcomes to one segment, each batch with the positions in one transaction."""

    def __init__(self, segment: Segment, topic: str) -> None:
        """Open the segment, or create its tables in the transaction of the first batch.

        Raises:
            sqlite3.Error: the file is damaged, or cannot be opened.
        """
        self.segment = segment
        self._topic = topic
        self._families: dict[str, int] = {}
        self._endings: dict[Ending, int] = {}
        self._connection = open_for_writing(segment.path)
        try:
            self._is_new = not self._connection.execute("PRAGMA user_version").fetchone()[0]
            if not self._is_new:
                self._read_names()
        except READ_ERRORS:
            self._connection.close()
            raise

    @property
    def size_bytes(self) -> int:
        """The bytes of the file once everything is copied into it."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (size,) = self._connection.execute("PRAGMA page_size").fetchone()
        return int(pages * size)

    def add(self, entries: Sequence[NewEntry], positions: Mapping[int, int]) -> None:
        """Commit the entries and the positions together.

        Raises:
            sqlite3.Error: nothing is committed.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if self._is_new:
                self._create()
            self._insert(entries)
            self._connection.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items()
            )
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._is_new = False
        self._note(entries)

    def close(self) -> None:
        """Copy everything into the file, and close it."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def abandon(self) -> None:
        """Close a damaged file."""
        self._connection.close()

    def _create(self) -> None:
        for statement in TABLES.split(";"):
            self._connection.execute(statement)
        self._connection.execute("INSERT INTO facts VALUES ('topic', ?)", (self._topic,))
        self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def _insert(self, entries: Sequence[NewEntry]) -> None:
        first = self.segment.outcomes + 1
        rows = []
        identifiers = []
        for number, (offset, entry) in enumerate(entries, first):
            age = age_of(entry.at_ms, offset)
            family, ending = self._family(entry.family or ""), self._ending(entry.ending)
            code = None if entry.code is None else fold(entry.code)
            rows.append((number, age, family, ending, code, _encode(entry)))
            identifiers += [(hash_of(text), age, number) for text in entry.identifiers]
        identifiers.sort()  # so that each page of their table is looked up once
        self._connection.executemany("INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._connection.executemany(
            "INSERT OR IGNORE INTO identifiers VALUES (?, ?, ?)", identifiers
        )

    def _family(self, name: str) -> int:
        if (number := self._families.get(name)) is None:
            number = self._families[name] = len(self._families) + 1
            self._connection.execute("INSERT INTO families VALUES (?, ?)", (number, name))
        return number

    def _ending(self, ending: Ending) -> int:
        if (number := self._endings.get(ending)) is None:
            number = self._endings[ending] = len(self._endings) + 1
            self._connection.execute("INSERT INTO endings VALUES (?, ?, ?)", (number, *ending))
        return number

    def _read_names(self) -> None:
        self._families = {n: k for k, n in self._connection.execute("SELECT * FROM families")}
        self._endings = {
            Ending(status, detail): number
            for number, status, detail in self._connection.execute("SELECT * FROM endings")
        }

    def _note(self, entries: Sequence[NewEntry]) -> None:
        """Count what is committed."""
        if not entries:
            return
        segment = self.segment
        times = [entry.at_ms for _, entry in entries]
        known = [at for at in (segment.oldest_ms, segment.newest_ms) if at is not None]
        segment.oldest_ms, segment.newest_ms = min(times + known), max(times + known)
        segment.outcomes += len(entries)
        if segment.begun_ms is None:
            segment.begun_ms = segment.newest_ms


def stamp_of(connection: sqlite3.Connection) -> Stamp | None:
    """Return what a segment belongs to, or None if its first transaction was never committed.

    Raises:
        sqlite3.Error: the file is damaged.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not version:
        return None
    if version != VERSION:
        return Stamp(version, "")
    found = connection.execute("SELECT value FROM facts WHERE name = 'topic'").fetchone()
    return Stamp(version, found[0] if found else "")


def read_totals(segment: Segment, connection: sqlite3.Connection) -> None:
    """Set the count and the times of a segment from its tables.

    Raises:
        sqlite3.Error: the file is damaged.
        DamagedError: likewise.
    """
    (segment.outcomes,) = connection.execute(
        "SELECT ifnull(max(number), 0) FROM outcomes"
    ).fetchone()
    # One aggregate a statement is read from the index; both in one would scan it.
    (oldest,) = connection.execute("SELECT max(age) FROM outcomes").fetchone()
    (newest,) = connection.execute("SELECT min(age) FROM outcomes").fetchone()
    if segment.outcomes:
        if not (isinstance(oldest, int) and isinstance(newest, int)):
            raise DamagedError
        segment.oldest_ms = segment.begun_ms = ms_of(oldest)
        segment.newest_ms = ms_of(newest)


def read_positions(connection: sqlite3.Connection) -> dict[int, int]:
    """Return the next offset of each partition.

    Raises:
        sqlite3.Error: the file is damaged.
        DamagedError: likewise.
    """
    found = dict(connection.execute("SELECT partition, position FROM positions"))
    if not all(isinstance(number, int) for number in (*found, *found.values())):
        raise DamagedError
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
