"""Walk through a segment in the order of the hits, reading no more than is taken.

A walk follows the one index that leaves least to look through. What the index does not decide, such
as the family among codes with the same beginning, is filtered within the index, in chunks: after
each chunk the walk says where it is, so that a search can stop there and be continued.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from service.adapters.outcome_index.segment import Segment
from service.console.entry import Ending, hash_of
from service.console.query import Position, Query, age_of

CHUNK_KEYS = 5_000
"""Keys of an index that are looked through between two points where a search may stop."""
NUMBER_MAX = (1 << 63) - 1
_ANY = "TRUE"
_BY_AGE = ("age", "number")
_BY_CODE = ("code", "age", "number")
_OUTCOMES = "CROSS JOIN outcomes o ON o.number = k.number"
"""SQLite reads the tables of such a join in the order in which they are written."""
FIRST_CHARACTER = "\x00"
LAST_CHARACTER = "\U0010ffff"
_BEFORE_SURROGATES, _AFTER_SURROGATES = "\ud7ff", "\ue000"

Key = str | int
Parameters = tuple[Key, ...]


class Step(NamedTuple):
    """A hit, or a point that the walk has reached without one."""

    position: Position
    is_hit: bool


class Walk(NamedTuple):
    """A statement over one index, in pieces.

    Attributes:
        source: The table `k` that has the keys, with the index to use.
        keys: The columns of the index by which hits are in ascending order.
        fixed: The condition on the column of the index before them, with its parameter; empty if
            there is none.
        first: The lowest value of the first key, or None.
        end: The lowest value of the first key that is too high, or None.
        filter: The other conditions, with their parameters; empty if there are none.
        filtered: The columns of `k` that the filter needs besides the keys.
        joined: What is joined to `k` for the filter.
    """

    source: str
    keys: tuple[str, ...]
    fixed: str = ""
    fixed_parameters: Parameters = ()
    first: Key | None = None
    end: Key | None = None
    filter: str = ""
    filter_parameters: Parameters = ()
    filtered: tuple[str, ...] = ()
    joined: str = ""


def walk_segment(
    connection: sqlite3.Connection, segment: Segment, query: Query, oldest_age: int
) -> Iterator[Iterator[Step]]:
    """Yield the walks through a segment that together have all hits of a query.

    Args:
        connection: the segment's file, opened for reading.
        segment: the segment.
        query: what is searched.
        oldest_age: the age of the oldest outcomes that are wanted.

    Raises:
        sqlite3.Error: the file is damaged.
    """
    family, endings = _family(connection, query), _endings(connection, query)
    if family == [] or endings == []:
        return
    oldest_ms = segment.oldest_ms or 0
    highest = None if age_of(oldest_ms) <= oldest_age else oldest_age
    for walk in _plan(query, family, endings, highest):
        yield _steps(connection, segment.number, walk, query.after)


def _family(connection: sqlite3.Connection, query: Query) -> list[int] | None:
    """Return the family's number in this segment, none if it is not there, None for any family."""
    if not query.family:
        return None
    found = connection.execute("SELECT number FROM families WHERE name = ?", (query.family,))
    return [number for (number,) in found]


def _endings(connection: sqlite3.Connection, query: Query) -> list[int] | None:
    """Return the numbers of the wanted endings in this segment, or None for any ending."""
    if not query.ending:
        return None
    return [
        number
        for number, status, detail in connection.execute("SELECT * FROM endings")
        if query.takes(Ending(status, detail))
    ]


def _plan(
    query: Query, family: list[int] | None, endings: list[int] | None, oldest_age: int | None
) -> Iterator[Walk]:
    """Yield the walks: by identifier, code, ending or family, or else through everything."""
    first, end = _ages(query, oldest_age)
    family_filter = "" if family is None else f"family = {family[0]}"
    ending_filter = "" if endings is None else f"ending IN ({', '.join(map(str, endings))})"
    both = _and(family_filter, ending_filter)
    match query.kind:
        case "identifier":
            code, parameters = _in("code", *_codes(query))
            hashed, others = (hash_of(query.identifier),), _and(code, both)
            walk = Walk("identifiers k", _BY_AGE, "hash = ?", hashed, first, end)
            yield walk._replace(filter=others, filter_parameters=parameters, joined=_OUTCOMES)
        case "exact":
            walk = Walk(_by("code"), _BY_AGE, "code = ?", (query.code,), first, end)
            yield walk._replace(filter=both, filtered=("family", "ending"))
        case "prefix":
            ages, parameters = _in("age", first, end)
            # The index has no rows without a code, and SQLite uses it only if a condition says so.
            walk = Walk(_by("code"), _BY_CODE, "code IS NOT NULL", (), *_codes(query))
            walk = walk._replace(filter=_and(ages, both), filter_parameters=parameters)
            yield walk._replace(filtered=("family", "ending"))
        case _ if endings is not None:
            for ending in endings:
                walk = Walk(_by("ending"), _BY_AGE, "ending = ?", (ending,), first, end)
                yield walk._replace(filter=family_filter, filtered=("family",))
        case _ if family is not None:
            yield Walk(_by("family"), _BY_AGE, "family = ?", tuple(family), first, end)
        case _:
            yield Walk(_by("age"), _BY_AGE, "", (), first, end)


def _by(column: str) -> str:
    """Return the table of the outcomes, read by the index that begins with this column."""
    return f"outcomes k INDEXED BY by_{column}"


def _ages(query: Query, oldest_age: int | None) -> tuple[int | None, int | None]:
    """Return the lowest age that is wanted and the lowest one that is too high, or None."""
    since = None if query.since_ms is None else age_of(query.since_ms)
    highest = min((age for age in (since, oldest_age) if age is not None), default=None)
    return (
        None if query.until_ms is None else age_of(query.until_ms) + 1,
        None if highest is None else highest + 1,
    )


def _codes(query: Query) -> tuple[str | None, str | None]:
    """Return the lowest code that is wanted and the lowest one that is too high, or None."""
    if not query.code:
        return None, None
    if not query.begins:
        return query.code, query.code + FIRST_CHARACTER
    return query.code, end_of_prefix(query.code)


def _in(column: str, first: Key | None, end: Key | None) -> tuple[str, Parameters]:
    """Return the condition that a column lies in a range, with its parameters."""
    lower = "" if first is None else f"{column} >= ?"
    upper = "" if end is None else f"{column} < ?"
    return _and(lower, upper), tuple(value for value in (first, end) if value is not None)


def end_of_prefix(prefix: str) -> str | None:
    """Return the first text, in the order of code points, after all that begin with the prefix."""
    kept = prefix.rstrip(LAST_CHARACTER)
    if not kept:
        return None
    last = kept[-1]
    after = _AFTER_SURROGATES if last == _BEFORE_SURROGATES else chr(ord(last) + 1)
    return kept[:-1] + after


def _steps(
    connection: sqlite3.Connection, segment: int, walk: Walk, after: Position | None
) -> Iterator[Step]:
    """Yield the hits of a walk after a position, and the points between its chunks."""
    has_code = walk.keys == _BY_CODE
    start = None if after is None else _start(walk, segment, after)
    while True:
        end = _end_of_chunk(connection, walk, start) if walk.filter else None
        for key in _keys(connection, walk, start):
            yield Step(_position(key, segment, has_code=has_code), is_hit=True)
        if end is None:
            return
        yield Step(_position(end, segment, has_code=has_code), is_hit=False)
        start = end


def _end_of_chunk(
    connection: sqlite3.Connection, walk: Walk, start: Parameters | None
) -> Parameters | None:
    """Return the last key of the next chunk, or None if the rest is shorter than a chunk."""
    conditions, parameters = _after(walk, start)
    columns = ", ".join(walk.keys)
    statement = (
        f"SELECT {columns} FROM {walk.source} WHERE {conditions} ORDER BY {columns} "  # noqa: S608 - made of our own pieces
        f"LIMIT 1 OFFSET {CHUNK_KEYS - 1}"
    )
    found = connection.execute(statement, parameters).fetchone()
    return None if found is None else tuple(found)


def _keys(
    connection: sqlite3.Connection, walk: Walk, start: Parameters | None
) -> Iterator[Parameters]:
    """Yield the keys of hits in ascending order: of the next chunk, or of all without a filter."""
    conditions, parameters = _after(walk, start)
    columns = ", ".join((*walk.keys, *walk.filtered))
    order = ", ".join(walk.keys)
    statement = f"SELECT {columns} FROM {walk.source} WHERE {conditions} ORDER BY {order}"  # noqa: S608 - made of our own pieces
    if walk.filter:
        shown = ", ".join(f"k.{key}" for key in walk.keys)
        statement = (
            f"SELECT {shown} FROM ({statement} LIMIT {CHUNK_KEYS}) k {walk.joined} "  # noqa: S608 - likewise
            f"WHERE {walk.filter} ORDER BY {shown}"
        )
    return connection.execute(statement, (*parameters, *walk.filter_parameters))


def _after(walk: Walk, start: Parameters | None) -> tuple[str, Parameters]:
    """Return the conditions of what the walk has after a key, with their parameters."""
    if start is not None and _is_before(start[0], walk.first):
        start = None
    # SQLite goes to a place in the index by one condition, so one replaces the other.
    first = walk.first if start is None else None
    own, parameters = _in(walk.keys[0], first, walk.end)
    columns, marks = ", ".join(walk.keys), ", ".join("?" * len(walk.keys))
    after = "" if start is None else f"({columns}) > ({marks})"
    conditions = _and(walk.fixed, own, after) or _ANY
    return conditions, (*walk.fixed_parameters, *parameters, *(start or ()))


def _is_before(key: Key, first: Key | None) -> bool:
    """Return whether a position lies before all hits of a walk, as one of another search may."""
    if isinstance(key, str):
        return isinstance(first, str) and key < first
    return isinstance(first, int) and key < first


def _start(walk: Walk, segment: int, after: Position) -> Parameters:
    """Return the last key of this segment that is not after the position."""
    if segment == after.segment:
        number = after.number
    else:  # of hits with the same age, those of lower segments come first
        number = 0 if segment > after.segment else NUMBER_MAX
    key = (after.age, number)
    return (after.code, *key) if len(walk.keys) > len(key) else key


def _position(row: tuple[Any, ...], segment: int, *, has_code: bool) -> Position:
    code, age, number = row[:3] if has_code else ("", *row[:2])
    return Position(code, age, segment, number)


def _and(*conditions: str) -> str:
    return " AND ".join(condition for condition in conditions if condition)
