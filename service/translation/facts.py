"""What a translation and its reads of thin events report, for logs and metrics."""

from typing import ClassVar, Literal, NamedTuple

import msgspec

from service.contracts.outcome import Action, Reason
from service.core.facts import Fact
from service.core.model import Partition
from service.mapping.results import EndStatus, NotFound
from service.translation.read_answers import Found, HostTrouble, ReadAnswer, Refused, TooLarge

ReadEnd = Literal["found", "not_found", "refused", "too_large", "trouble"]
"""How the read of an asset ended."""

_ENDS: dict[type[ReadAnswer], ReadEnd] = {
    Found: "found",
    NotFound: "not_found",
    Refused: "refused",
    TooLarge: "too_large",
    HostTrouble: "trouble",
}


def end_of(answer: ReadAnswer) -> ReadEnd:
    """Return the label under which this answer is counted."""
    return _ENDS[type(answer)]


class ReadEnded(Fact, frozen=True):
    """The read of an asset ended; `seconds` includes the wait for the host's limits."""

    name: ClassVar[str] = "read.ended"
    host: str
    ended: ReadEnd
    seconds: float


class HostFailing(Fact, frozen=True):
    """No read of this host succeeds: the source waits, and tries one read at a time."""

    name: ClassVar[str] = "host.failing"
    host: str
    message: str


class HostRecovered(Fact, frozen=True):
    """A read of a failing host succeeded."""

    name: ClassVar[str] = "host.recovered"
    host: str


class PartResult(NamedTuple):
    """What an item of a raw record became: a change, or an end with its reason."""

    result: Action | EndStatus
    reason: Reason | None = None


class TranslatedRecord(msgspec.Struct, frozen=True, gc=False):
    """A raw record whose changes and outcomes are committed."""

    partition: Partition
    offset: int
    results: tuple[PartResult, ...]
    record_timestamp_ms: int
    """When the raw record was written (UTC); -1 means unknown."""
    received_utc_ms: int
    """When the raw record was read (UTC)."""


class RecordsTranslated(Fact, frozen=True):
    """Changes, outcomes and positions of a source are committed to Kafka."""

    name: ClassVar[str] = "translation.committed"
    records: int
    changes: int
    seconds: float
    """From the choice of the records to the commit."""
    completed: tuple[TranslatedRecord, ...]


class DeletesHeld(Fact, frozen=True):
    """Too many items became deletes in an hour: the source waits until an operator releases it."""

    name: ClassVar[str] = "deletes.ceiling_reached"
    per_hour_max: int
