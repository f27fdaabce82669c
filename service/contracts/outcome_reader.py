"""A tolerant reader of outcomes (contract.md §5).

Every reader in this project uses `read_outcome`. It accepts results, reasons and fields that a
later version may add within v1, and any content of `context` and `pim.errors`.
"""

import msgspec

from service.contracts.json_flaw import UNREADABLE

CHANGE_TYPES = "asset-sync.asset."
"""The beginning of the types of the events that translate writes."""


class ReadOrigin(msgspec.Struct, frozen=True, gc=False):
    """The Kafka record of the event."""

    topic: str
    partition: int
    offset: int


class ReadEvent(msgspec.Struct, frozen=True, gc=False):
    """The event that asked for the change. `context` is any JSON value."""

    id: str | None = None
    type: str | None = None
    context: msgspec.Raw = msgspec.Raw(b"null")


class ReadData(msgspec.Struct, frozen=True, gc=False):
    """The members of an outcome's `data` that readers in this project use.

    `errors` is any JSON value; today it is a list of objects.
    """

    status: str
    result: str | None = None
    reason: str | None = None
    message: str | None = None
    errors: msgspec.Raw = msgspec.Raw(b"null")
    action: str | None = None
    asset_family: str | None = None
    code: str | None = None
    origin: ReadOrigin | None = None
    event: ReadEvent | None = None
    merged_into: str | None = None
    superseded_by: str | None = None


class ReadOutcome(msgspec.Struct, frozen=True, gc=False):
    """An outcome of any version within v1."""

    id: str
    data: ReadData
    type: str | None = None
    source: str | None = None
    subject: str | None = None
    time: str | None = None
    causationid: str | None = None
    correlationid: str | None = None

    @property
    def is_of_raw_event(self) -> bool:
        """Whether translate made the change of a raw event, whose own id is `correlationid`."""
        event = self.data.event
        return event is not None and (event.type or "").startswith(CHANGE_TYPES)


_decoder = msgspec.json.Decoder(ReadOutcome)


def read_outcome(value: bytes | None) -> ReadOutcome | None:
    """Return the outcome in a record's value, or None if the value is not an outcome."""
    try:
        return _decoder.decode(value or b"")
    except UNREADABLE:
        return None
