"""Search all segments: merge their walks, and read the entries of one page.

Rule 1: a search is bounded: it reads one page, and looks through `CHUNKS_MAX` chunks at most. What
is left can be searched by continuing at the position that it returns.
Rule 2: each thread has connections of its own, which cannot change the index.
"""

import heapq
import sqlite3
import threading
from collections.abc import Iterator
from itertools import chain

import msgspec

from service.adapters.outcome_index.schema import DamagedError, is_damage, open_for_reading
from service.adapters.outcome_index.searchable import Searchable
from service.adapters.outcome_index.segment import Segment
from service.adapters.outcome_index.walks import Step, walk_segment
from service.console.entry import Entry
from service.console.hits import Hits
from service.console.query import PAGE_HITS, Position, Query, age_of

CHUNKS_MAX = 60
"""Chunks of `CHUNK_KEYS` that one search looks through; more take longer than people wait."""

TRIES = 2
"""A file that was deleted a moment ago, because its outcomes are too old, is no error twice."""

_decode = msgspec.msgpack.Decoder(Entry).decode


class _Connections(threading.local):
    """The open segments of one thread."""

    def __init__(self) -> None:
        self.by_number: dict[int, sqlite3.Connection] = {}


class Searcher:
    """Searches an index, in any thread."""

    def __init__(self, index: Searchable) -> None:
        self._index = index
        self._connections = _Connections()

    def search(self, query: Query, hits_max: int = PAGE_HITS) -> Hits | None:
        """Return a page of hits, or None if the index is damaged and will be built again."""
        for _ in range(TRIES):
            try:
                return self._search(query, hits_max)
            except (sqlite3.Error, msgspec.DecodeError, DamagedError) as error:
                self.close()
                if not isinstance(error, sqlite3.Error) or is_damage(error):
                    self._index.report_damage()
                    return None
        return None

    def close(self) -> None:
        """Close the connections of this thread."""
        for connection in self._connections.by_number.values():
            connection.close()
        self._connections.by_number.clear()

    def _search(self, query: Query, hits_max: int) -> Hits:
        opened = self._open(self._index.segments)
        oldest_age = age_of(self._index.oldest_wanted_ms)
        walks = chain.from_iterable(
            walk_segment(connection, segment, query, oldest_age) for segment, connection in opened
        )
        found, last, is_partial = _taken(heapq.merge(*walks), hits_max)
        by_number = self._connections.by_number
        read = (
            _entry(by_number[position.segment], position.number) for position in found[:hits_max]
        )
        entries = tuple(entry for entry in read if _has(entry, query))
        if len(found) > hits_max:
            return Hits(entries, found[hits_max - 1])
        return Hits(entries, last if is_partial else None, is_partial)

    def _open(self, segments: tuple[Segment, ...]) -> list[tuple[Segment, sqlite3.Connection]]:
        """Return the segments with their connections, and close those of dropped segments."""
        by_number = self._connections.by_number
        for number in by_number.keys() - {segment.number for segment in segments}:
            by_number.pop(number).close()
        for segment in segments:
            if segment.number not in by_number and segment.outcomes:
                by_number[segment.number] = open_for_reading(segment.path)
        return [
            (segment, by_number[segment.number])
            for segment in segments
            if segment.number in by_number
        ]


def _taken(steps: Iterator[Step], hits_max: int) -> tuple[list[Position], Position | None, bool]:
    """Return the first hits, one more than a page if there are more, and where a search stopped."""
    found: list[Position] = []
    chunks = 0
    for step in steps:
        if step.is_hit:
            found.append(step.position)
            if len(found) > hits_max:
                return found, None, False
        else:
            chunks += 1
            if chunks >= CHUNKS_MAX:
                return found, step.position, True
    return found, None, False


def _entry(connection: sqlite3.Connection, number: int) -> Entry:
    statement = "SELECT entry FROM outcomes WHERE number = ?"
    found = connection.execute(statement, (number,)).fetchone()
    if found is None:
        raise DamagedError
    return _decode(found[0])


def _has(entry: Entry, query: Query) -> bool:
    """Return whether the entry has the identifier, and not another one with the same hash."""
    return not query.identifier or query.identifier in entry.identifiers
