"""What goes into a mapped source and what comes out of it.

Rule 1: everything here is frozen. What exists once for each event is a msgspec.Struct with
`gc=False`, which is created ten times faster than a dataclass.
Rule 2: `part` is the number of an item in its record, from 0. An item gives one result, except with
`families`: then it gives one delete for each family.
"""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from msgspec import Raw, Struct

Action = Literal["upsert", "delete"]
EndStatus = Literal["skipped", "rejected", "failed"]
EndReason = Literal[
    "not_selected",
    "no_family",
    "not_found",
    "unmappable",
    "undecodable",
    "invalid_event",
    "too_large",
    "fetch_failed",
]
NotFoundPolicy = Literal["skip", "delete", "reject"]
"""What an asset that its DAM no longer has means."""

Values = Mapping[str, object]
"""The values of a change by attribute code, in the shape of contract.md §4: a bare text, boolean,
None or list of texts, or a list of entries (`{"locale": …, "channel": …, "data": …}`)."""


class RawRecord(Struct, frozen=True, gc=False):
    """A record of a raw topic, exactly as Kafka delivered it.

    `timestamp_ms` is UTC; -1 means unknown.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = -1


class EventFacts(Struct, frozen=True, gc=False):
    """What the source's `event` paths say about the DAM's event. `time` is in RFC 3339."""

    id: str | None = None
    type: str | None = None
    source: str | None = None
    subject: str | None = None
    time: str | None = None


NO_FACTS = EventFacts()


class Change(Struct, frozen=True, gc=False):
    """One change for the PIM.

    `values` is None for a delete. `context` is a JSON object of at most 4 KiB, numbers as the event
    had them. `further` counts the deletes of one item from 0, one for each of its `families`.
    """

    part: int
    further: int
    action: Action
    family: str
    code: str
    values: Values | None
    context: Raw | None
    rule: str | None
    event: EventFacts


class Ended(Struct, frozen=True, gc=False):
    """An item that asks for no change, or a record that does so as a whole (`part` is None)."""

    part: int | None
    status: EndStatus
    reason: EndReason
    message: str
    family: str | None = None
    code: str | None = None
    rule: str | None = None
    event: EventFacts = NO_FACTS


class NotFound(Struct, frozen=True, gc=False):
    """The DAM answered that it does not have the asset (404 or 410)."""


Fetched = Mapping[str, object] | NotFound
"""The DAM's answer: an object decoded by `decode_fetched`, or that there is none."""


class Resumed(Struct, frozen=True, gc=False):
    """What an item has become by the DAM's answer, and the steps of work that this took."""

    parts: tuple[Change | Ended, ...]
    steps: int = 0


class Read(Struct, frozen=True):
    """An item that cannot be decided before the DAM has been asked.

    `url` begins with a slash and goes on after the base of `host`. `resume` takes the answer and
    never raises.
    """

    part: int
    host: str
    url: str
    delay_seconds: float
    not_found: NotFoundPolicy
    resume: Callable[[Fetched], Resumed]
    rule: str | None
    event: EventFacts


Part = Change | Ended | Read
"""A result of an item."""


class MappedRecord(Struct, frozen=True, gc=False):
    """All that a record has become, in the order of its items. It is never empty.

    `steps` is the work that this took, of `WORK_STEPS_MAX`.
    """

    parts: tuple[Part, ...]
    steps: int = 0


class MappedSource(Protocol):
    """A source of the file, compiled."""

    @property
    def name(self) -> str: ...

    def identity(self, record: RawRecord) -> str | None:
        """Return the DAM's own id of the asset, or None if the event has none."""
        ...

    def map(self, record: RawRecord, only_parts: frozenset[int] | None = None) -> MappedRecord:
        """Return what the record becomes; never raise, whatever bytes it holds.

        `only_parts` limits a replay to these items; a record that ends as a whole does so anyway.
        """
        ...
