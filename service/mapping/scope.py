"""The roots that paths start from."""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from service.mapping.json_values import ABSENT
from service.mapping.work import Work


class Scope(NamedTuple):
    """What the paths of one item see. An absent root is `ABSENT`."""

    start: object
    """Where a path without a root starts: the item, what `root` names, or the DAM's answer."""
    event: object
    item: object
    key: object
    record: object
    fetched: object
    work: Work

    def starting_at(self, start: object) -> "Scope":
        _, event, item, key, record, fetched, work = self
        return Scope(start, event, item, key, record, fetched, work)

    def of_item(self, item: object) -> "Scope":
        _, event, _, key, record, fetched, work = self
        return Scope(item, event, item, key, record, fetched, work)


Root = Literal[0, 1, 2, 3, 4, 5]
"""The index of a root within a `Scope`."""

START: Final = 0
EVENT: Final = 1
ITEM: Final = 2
KEY: Final = 3
RECORD: Final = 4
FETCHED: Final = 5

ROOTS: dict[str, Root] = {
    "$event": EVENT,
    "$item": ITEM,
    "$key": KEY,
    "$record": RECORD,
    "$fetched": FETCHED,
}

RECORD_MEMBERS = ("key", "topic", "partition", "offset", "time", "headers")

Path = Callable[[Scope], object]
"""Return the value of a path, or `ABSENT`; raise `ItemEndedError` where it cannot be evaluated."""


def nothing(_scope: Scope) -> object:
    """A path without value."""
    return ABSENT
