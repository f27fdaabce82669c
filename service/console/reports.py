"""What the two processes of the console say to each other.

The process of the pages gives orders; the one that fills the index reports.
"""

from collections.abc import Mapping

import msgspec

from service.console.facts import (
    IndexOpened,
    IndexRebuilt,
    OutcomesDropped,
    OutcomesIndexed,
    OutcomesMissed,
)
from service.core.facts import Fact, KafkaReachable, KafkaUnreachable

FACTS: Mapping[str, type[Fact]] = {
    fact.name: fact
    for fact in (
        IndexOpened,
        IndexRebuilt,
        KafkaReachable,
        KafkaUnreachable,
        OutcomesDropped,
        OutcomesIndexed,
        OutcomesMissed,
    )
}
"""The facts of filling the index, by their names."""


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Read the topic, and fill the index."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Close the index, and exit."""


class Damaged(msgspec.Struct, frozen=True, tag=True):
    """A search met a damaged file; `newest` is the number of the newest segment that it knew."""

    newest: int


Order = Begin | Stop | Damaged


class SegmentReport(msgspec.Struct, frozen=True, array_like=True):
    """A file of the index; times are UTC, in milliseconds, or None if it is empty."""

    number: int
    outcomes: int
    oldest_ms: int | None
    newest_ms: int | None


class Progress(msgspec.Struct, frozen=True, tag=True):
    """How far the index is.

    Attributes:
        is_open: Whether the index has been opened, so that it can be searched.
        segments: Its files in ascending order.
        lag: How many offsets of the topic are not read yet; None if Kafka did not tell.
        problem: Why Kafka cannot be reached, or None.
        quiet_seconds: How long no read and no write has ended.
    """

    is_open: bool
    segments: tuple[SegmentReport, ...]
    lag: int | None
    problem: str | None
    quiet_seconds: float


class Noted(msgspec.Struct, frozen=True, tag=True):
    """A fact, to be logged and counted by the process of the pages."""

    name: str
    fields: msgspec.Raw

    @classmethod
    def of(cls, fact: Fact) -> "Noted":
        assert fact.name in FACTS, f"{fact.name} is not a fact of filling the index"
        return cls(fact.name, msgspec.Raw(msgspec.msgpack.encode(fact)))

    @property
    def fact(self) -> Fact:
        return msgspec.msgpack.decode(self.fields, type=FACTS[self.name])


class Ended(msgspec.Struct, frozen=True, tag=True):
    """It has to end, because of this error."""

    message: str


Report = Progress | Noted | Ended

encode = msgspec.msgpack.Encoder().encode
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


def decode_order(message: bytes) -> Order:
    """Return the order of a message. Both processes run the same code, so it can be read."""
    return _orders.decode(message)


def decode_report(message: bytes) -> Report:
    """Return the report of a message. Both processes run the same code, so it can be read."""
    return _reports.decode(message)
