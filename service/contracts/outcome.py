"""The outcome event: one a change, on the outcomes topic (contract.md §5).

Within v1 fields, results and reasons may be added; none is removed, renamed or given another
meaning. Readers ignore what they do not know.
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
    "pim_error",
    "timeout",
    "forbidden",
    "unknown_type",
    "deletes_off",
]
Action = Literal["upsert", "delete"]
UPSERT: Final = "upsert"
DELETE: Final = "delete"
ACTIONS: tuple[Action, ...] = (UPSERT, DELETE)

DEAD_STATUSES: frozenset[Status] = frozenset({"rejected", "failed"})
"""Statuses whose record also goes to the dead-letter topic."""

ERRORS_MAX = 50
"""Errors an outcome carries at most, in `errors` and in `pim.errors` each."""

ERRORS_BYTES_MAX = 32 * 1024
"""Bytes of `errors` and of `pim.errors` together, as JSON."""

MESSAGE_CHARACTERS_MAX = 2000
"""Characters of one message."""

OUTCOME_BYTES_MAX = 64 * 1024
"""Bytes of one outcome's value."""

OUTCOME_KEY_BYTES_MAX = 8 * 1024
"""Bytes of an outcome's key; an input's key that is longer is not taken for one."""

ATTRIBUTE_BYTES_MAX = 1024
"""Bytes of a foreign attribute (causationid, correlationid, …); a longer one is left out."""

DEAD_LETTER_MESSAGE_BYTES_MAX = 1024
"""Bytes of the `dlq.message` header."""


class ChangeError(msgspec.Struct, frozen=True, gc=False):
    """One thing that was wrong, placed where a content person finds it."""

    path: str | None = None
    message: str | None = None
    attribute: str | None = None
    locale: str | None = None
    channel: str | None = None


class SourceEvent(msgspec.Struct, frozen=True, gc=False):
    """The event that asked for the change, as it named itself."""

    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    time: str | None = None
    context: msgspec.Raw | None = None


class RecordOrigin(msgspec.Struct, frozen=True, gc=False):
    """The record that held the change; `key` as text, undecodable bytes replaced."""

    topic: str
    partition: int
    offset: int
    key: str | None
    timestamp: str | None


class PimAnswer(msgspec.Struct, frozen=True, gc=False):
    """What the PIM said of the asset; `status_code` is null where no answer came."""

    status_code: int | None
    message: str | None
    errors: list[msgspec.Raw]


class OutcomeData(msgspec.Struct, frozen=True, gc=False):
    """The outcome itself."""

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
