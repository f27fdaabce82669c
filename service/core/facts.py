"""Facts for logs, metrics and traces. Nothing is decided by them."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from service.core.records import Settled

FactName = Literal[
    "breaker.opened",
    "breaker.closed",
    "call.put_off",
    "call.suspected",
    "change.settled",
    "credentials.refused",
    "dead_letters.limit_reached",
    "dead_letters.released",
    "dead_letters.truncated",
    "family.sick",
    "family.healed",
    "gate.closed",
    "gate.opened",
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
    "settlement.committed",
    "settlement.refused",
    "settlement.retried",
    "structure.read",
    "structure.unreadable",
    "window.closed",
]


class Note(msgspec.Struct, frozen=True):
    """A fact for people and meters. Nobody may decide anything by it."""

    name: FactName
    fields: Mapping[str, object] = msgspec.field(default_factory=dict)
    settled: tuple[Settled, ...] = ()
    """What a committed settlement made visible, for those who count."""


RetryCause = Literal["throttled", "cut", "item", "refused", "forbidden"]
"""Why a call, or a part of it, goes again, suspicions aside."""
