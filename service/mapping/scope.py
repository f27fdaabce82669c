"""The roots that paths start from."""

from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from service.mapping.json_values import ABSENT
from service.mapping.work import Work


class Scope(Struct, frozen=True, gc=False):
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
        return Scope(start, self.event, self.item, self.key, self.record, self.fetched, self.work)

    def of_item(self, item: object) -> "Scope":
        return Scope(item, self.event, item, self.key, self.record, self.fetched, self.work)


Root = Literal["start", "event", "item", "key", "record", "fetched"]
"""The field of a root within a `Scope`."""

START: Final = "start"
EVENT: Final = "event"
ITEM: Final = "item"
KEY: Final = "key"
RECORD: Final = "record"
FETCHED: Final = "fetched"

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
