"""The outcome event: one for each change, on the outcomes topic (contract.md §5).

Within v1, fields, results, reasons and error codes may be added; none is removed, renamed or given
another meaning. Readers ignore fields that they do not know.
"""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

Status = Literal["applied", "superseded", "rejected", "failed", "skipped"]
Result = Literal["created", "updated", "deleted", "absent", "merged"]
Reason = Literal[
    "undecodable",
    "invalid_event",
    "too_large",
    "unknown_family",
    "refused_by_pim",
    "invalid_values",
    "media_refused",
    "pim_error",
    "timeout",
    "forbidden",
    "media_failed",
    "unknown_type",
    "deletes_off",
    "not_selected",
    "no_family",
    "not_found",
    "unmappable",
    "fetch_failed",
]
ErrorCode = Literal[
    "unknown_attribute",
    "unknown_option",
    "missing_locale",
    "unexpected_locale",
    "missing_channel",
    "unexpected_channel",
    "duplicate_value",
    "missing_data",
    "wrong_type",
    "not_a_number",
    "no_decimals",
    "out_of_range",
    "too_long",
    "too_deep",
    "missing_asset",
    "missing_member",
    "invalid_name",
    "invalid_base64",
    "contradiction",
    "wrong_content_type",
    "unsupported_version",
    "quoted_header",
    "not_utf8",
]
Action = Literal["upsert", "delete"]
UPSERT: Final = "upsert"
DELETE: Final = "delete"
ACTIONS: tuple[Action, ...] = (UPSERT, DELETE)

DEAD_STATUSES: frozenset[Status] = frozenset({"rejected", "failed"})
"""Statuses of which the record also goes to the dead-letter topic."""

ERRORS_MAX = 50
"""How many errors an outcome may have, in `errors` and in `pim.errors` each."""

ERRORS_BYTES_MAX = 32 * 1024
"""How many bytes of JSON `errors` and `pim.errors` may have together."""

MESSAGE_CHARACTERS_MAX = 2000
"""How many characters one message may have."""

OUTCOME_BYTES_MAX = 64 * 1024
"""How many bytes the value of an outcome record may have."""

OUTCOME_KEY_BYTES_MAX = 8 * 1024
"""How many bytes an outcome's key may have; a longer key of an input is not used for it."""

ATTRIBUTE_BYTES_MAX = 1024
"""How many bytes an attribute that is copied from the event may have; a longer one is left out."""

DEAD_LETTER_MESSAGE_BYTES_MAX = 1024
"""How many bytes the `dlq.message` header may have."""


class ChangeError(msgspec.Struct, frozen=True, gc=False):
    """One error, with the attribute, locale and channel that it is about."""

    path: str | None = None
    message: str | None = None
    attribute: str | None = None
    locale: str | None = None
    channel: str | None = None
    code: ErrorCode | None = None
    """What kind of error it is, for programs; null for an error that the PIM named."""


class SourceEvent(msgspec.Struct, frozen=True, gc=False):
    """The attributes of the event that asked for the change."""

    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    time: str | None = None
    context: msgspec.Raw | None = None


class RecordOrigin(msgspec.Struct, frozen=True, gc=False):
    """The Kafka record of the event. Bytes of `key` that are not UTF-8 are replaced.

    `part` is the number of the item of a raw record that several changes were made from.
    """

    topic: str
    partition: int
    offset: int
    key: str | None
    timestamp: str | None
    part: int | None = None


class MappingUse(msgspec.Struct, frozen=True, gc=False):
    """The part of the sources file that a raw record was mapped by.

    `rule` is null where none was reached or it has no name; `file` is the beginning of the SHA-256
    of the file with its profiles, in hexadecimal digits.
    """

    source: str
    rule: str | None
    file: str


class PimAnswer(msgspec.Struct, frozen=True, gc=False):
    """The PIM's response for this asset; `status_code` is null if the PIM did not respond."""

    status_code: int | None
    message: str | None
    errors: list[msgspec.Raw]


FileResult = Literal["uploaded", "remembered", "refused", "failed"]

FILES_MAX = 20
"""How many files of a change an outcome shows."""


class OutcomeFile(msgspec.Struct, frozen=True, gc=False):
    """A file that the change named, and what became of it.

    `url` is without its query. `result` is null for a file that was not fetched, or waited for its
    upload, when the change ended: because a later change replaced it, for example.
    """

    attribute: str
    url: str
    sha256: str | None = None
    bytes: int | None = None
    code: str | None = None
    """The PIM's code of the file."""
    result: FileResult | None = None


class OutcomeData(msgspec.Struct, frozen=True, gc=False):
    """What happened to one change."""

    status: Status
    result: Result | None
    reason: Reason | None
    message: str | None
    errors: list[ChangeError]
    action: Action | None
    asset_family: str | None
    code: str | None
    event: SourceEvent
    origin: RecordOrigin
    pim: PimAnswer | None
    merged_into: str | None
    superseded_by: str | None
    replay_of: str | None
    attempts: int
    received_at: str
    completed_at: str
    errors_truncated: bool | UnsetType = UNSET
    mapping: MappingUse | None = None
    media: list[OutcomeFile] | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """A CloudEvent 1.0 in structured mode; its attributes are repeated as `ce_*` headers."""

    specversion: Literal["1.0"]
    type: str
    source: str
    id: str
    time: str
    datacontenttype: Literal["application/json"]
    data: OutcomeData
    subject: str | UnsetType = UNSET
    causationid: str | UnsetType = UNSET
    correlationid: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    tracestate: str | UnsetType = UNSET
