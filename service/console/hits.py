"""The answer to a search, and how much of the topic the index has."""

from typing import NamedTuple

from service.console.entry import Entry
from service.console.query import Position


class Hits(NamedTuple):
    """One page of hits.

    Attributes:
        entries: The hits in their order.
        after: Where the next page begins, or None if there are no more hits.
        is_partial: Whether the search ended early because it had looked at too much; then it can
            be continued at `after`, even if this page has no hit.
    """

    entries: tuple[Entry, ...] = ()
    after: Position | None = None
    is_partial: bool = False


class IndexState(NamedTuple):
    """What the index has of the outcomes topic.

    Attributes:
        outcomes: How many outcomes can be found.
        size_bytes: The size of its files.
        oldest_ms: When its oldest outcome was written (UTC, in milliseconds); None if it is empty.
        lag: How many offsets of the topic are not read yet; None if Kafka did not tell.
    """

    outcomes: int
    size_bytes: int
    oldest_ms: int | None
    lag: int | None
