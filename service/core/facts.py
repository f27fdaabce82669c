"""Facts for logs, metrics and traces. Nothing is decided by them."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from service.core.records import CompletedChange

FactName = Literal[
    "breaker.opened",
    "breaker.closed",
    "pim.call_retried",
    "pim.call_failed",
    "change.completed",
    "credentials.refused",
    "dead_letters.limit_reached",
    "dead_letters.released",
    "dead_letters.truncated",
    "family.failing",
    "family.recovered",
    "pim.throttled",
    "pim.throttling_ended",
    "group.begun",
    "group.begun_again",
    "group.too_large",
    "intake.paused",
    "intake.resumed",
    "kafka.reachable",
    "kafka.unreachable",
    "observer.failed",
    "offset_map.unused",
    "option.created",
    "option.refused",
    "position.lost",
    "request.ended",
    "transaction.committed",
    "transaction.refused",
    "transaction.retried",
    "structure.read",
    "structure.unreadable",
    "window.closed",
]


class Note(msgspec.Struct, frozen=True):
    """A fact for people and meters. Nobody may decide anything by it."""

    name: FactName
    fields: Mapping[str, object] = msgspec.field(default_factory=dict)
    completed: tuple[CompletedChange, ...] = ()
    """What a committed settlement made visible, for those who count."""


RetryCause = Literal["throttled", "cancelled", "item", "refused", "forbidden"]
"""Why a call, or a part of it, goes again, suspicions aside."""
