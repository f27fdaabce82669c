"""The headers of a dead letter, which stand behind those of its original record (contract.md §5).

The key and the value are those of the original record, so only the headers have a form.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from service.contracts.outcome import DEAD_LETTER_MESSAGE_BYTES_MAX, Reason

_Number = Annotated[str, Meta(pattern=r"^[0-9]+$")]
_True = Annotated[str, Meta(pattern=r"^true$")]


def _header(name: str) -> str | UnsetType:
    """Return the default of a header that may be absent, with its name on the topic."""
    default: str | UnsetType = msgspec.field(default=UNSET, name=name)
    return default


class DeadLetterHeaders(msgspec.Struct, frozen=True):
    """Why a record is a dead letter, and where it came from. Every header is text."""

    topic: str = msgspec.field(name="dlq.original.topic")
    partition: _Number = msgspec.field(name="dlq.original.partition")
    offset: _Number = msgspec.field(name="dlq.original.offset")
    timestamp: Annotated[
        str, Meta(pattern=r"^-?[0-9]+$", description="Milliseconds since 1970; -1: none.")
    ] = msgspec.field(name="dlq.original.timestamp")
    reason: Reason = msgspec.field(name="dlq.reason")
    attempts: Annotated[
        str, Meta(pattern=r"^[0-9]+$", description="Calls to the PIM that carried it.")
    ] = msgspec.field(name="dlq.attempts")
    outcome_id: str = msgspec.field(name="dlq.outcome.id")
    message: (
        Annotated[str, Meta(description=f"At most {DEAD_LETTER_MESSAGE_BYTES_MAX} bytes.")]
        | UnsetType
    ) = _header("dlq.message")
    parts: (
        Annotated[
            str,
            Meta(
                pattern=r"^[0-9]+(,[0-9]+)*$",
                description="The items of a raw record that died; absent if it died as a whole.",
            ),
        ]
        | UnsetType
    ) = _header("dlq.parts")
    value_omitted: _True | UnsetType = _header("dlq.value.omitted")
    key_omitted: _True | UnsetType = _header("dlq.key.omitted")
    headers_omitted: (
        Annotated[
            str, Meta(pattern=r"^([0-9]+|true)$", description="How many, or true if unknown.")
        ]
        | UnsetType
    ) = _header("dlq.headers.omitted")
    message_omitted: _True | UnsetType = _header("dlq.message.omitted")


class ReplayMark(msgspec.Struct, frozen=True):
    """The headers of a record without a value that marks a dead letter as replayed."""

    replayed: Annotated[
        str, Meta(pattern=r"^[0-9]+/[0-9]+$", description="PARTITION/OFFSET of the dead letter.")
    ] = msgspec.field(name="dlq.replayed")
