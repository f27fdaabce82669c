"""Outcomes as a reader takes them (contract.md §5): what may grow within v1 hides none of them.

Every reader in this project reads outcomes with `read_outcome`. A result, reason or field that
this version does not know is no obstacle, and neither is whatever `context` and `pim.errors` hold.
"""

import msgspec

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ReadOrigin(msgspec.Struct, frozen=True, gc=False):
    """The record that held the change."""

    topic: str
    partition: int
    offset: int


class ReadData(msgspec.Struct, frozen=True, gc=False):
    """What readers need of an outcome's `data`."""

    status: str
    result: str | None = None
    reason: str | None = None
    message: str | None = None
    action: str | None = None
    asset_family: str | None = None
    code: str | None = None
    origin: ReadOrigin | None = None
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


_decoder = msgspec.json.Decoder(ReadOutcome)


def read_outcome(value: bytes | None) -> ReadOutcome | None:
    """Return the outcome in a record's value, or None where the value holds no outcome."""
    try:
        return _decoder.decode(value or b"")
    except _UNREADABLE:
        return None
