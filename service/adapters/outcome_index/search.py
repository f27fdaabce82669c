"""Search all segments: merge their walks, and read the entries of one page.

Rule 1: a search is bounded: it reads one page, and looks through `CHUNKS_MAX` chunks at most. What
is left can be searched by continuing at the position that it returns.
Rule 2: each search has connections of its own, which cannot change the index. They are kept for
later searches, but not those to dropped segments: a file that is open keeps its disk space.
"""

import heapq
import sqlite3
import threading
from collections.abc import Iterator
from itertools import chain

import msgspec

from service.adapters.outcome_index.schema import (
    READ_ERRORS,
    DamagedError,
    is_damage,
    open_for_reading,
)
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


class _Connections:
    """The segments that are open for one search at a time."""

    def __init__(self) -> None:
        self.by_number: dict[int, sqlite3.Connection] = {}

    def open(self, segments: tuple[Segment, ...]) -> list[tuple[Segment, sqlite3.Connection]]:
        """Return the segments that have outcomes, with their connections."""
        for segment in segments:
            if segment.number not in self.by_number and segment.outcomes:
                self.by_number[segment.number] = open_for_reading(segment.path)
        return [
            (segment, self.by_number[segment.number])
            for segment in segments
            if segment.number in self.by_number
        ]

    def close_all_but(self, segments: tuple[Segment, ...]) -> None:
        """Close the connections to other segments."""
        for number in self.by_number.keys() - {segment.number for segment in segments}:
            self.by_number.pop(number).close()


class Searcher:
    """Searches an index, in any thread."""

    def __init__(self, index: Searchable) -> None:
        self._index = index
        self._idle: list[_Connections] = []
        self._lock = threading.Lock()

    def search(self, query: Query, hits_max: int = PAGE_HITS) -> Hits | None:
        """Return a page of hits, or None if the index is damaged and will be built again."""
        connections = self._take()
        try:
            for _ in range(TRIES):
                try:
                    return self._search(connections, query, hits_max)
                except READ_ERRORS as error:
                    connections.close_all_but(())
                    if is_damage(error):
                        self._index.report_damage()
                        return None
            return None
        finally:
            self._give_back(connections)

    def release_dropped(self) -> None:
        """Close the idle connections to dropped segments, which frees the space of their files."""
        self._close_idle_but(self._index.segments)

    def close(self) -> None:
        """Close the idle connections."""
        self._close_idle_but(())

    def _close_idle_but(self, segments: tuple[Segment, ...]) -> None:
        with self._lock:
            for connections in self._idle:
                connections.close_all_but(segments)

    def _take(self) -> _Connections:
        with self._lock:
            return self._idle.pop() if self._idle else _Connections()

    def _give_back(self, connections: _Connections) -> None:
        with self._lock:
            connections.close_all_but(self._index.segments)
            self._idle.append(connections)

    def _search(self, connections: _Connections, query: Query, hits_max: int) -> Hits:
        opened = connections.open(self._index.segments)
        oldest_age = age_of(self._index.oldest_wanted_ms)
        walks = chain.from_iterable(
            walk_segment(connection, segment, query, oldest_age) for segment, connection in opened
        )
        found, last, is_partial = _taken(heapq.merge(*walks), hits_max)
        by_number = connections.by_number
        read = (
            _entry(by_number[position.segment], position.number) for position in found[:hits_max]
        )
        entries = tuple(entry for entry in read if _has(entry, query))
        if len(found) > hits_max:
            return Hits(entries, found[hits_max - 1])
        return Hits(entries, last if is_partial else None, is_partial)


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
    if found is None or not isinstance(found[0], bytes):
        raise DamagedError
    try:
        return _decode(found[0])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError from error


def _has(entry: Entry, query: Query) -> bool:
    """Return whether the entry has the identifier, and not another one with the same hash."""
    return not query.identifier or query.identifier in entry.identifiers
