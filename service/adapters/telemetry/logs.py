"""The log: one line for each fact, as JSON, or in colours on a terminal."""

import logging
import sys
import time
from typing import Literal

import msgspec
import structlog

from service.console import facts as console
from service.contracts.outcome import DEAD_STATUSES
from service.core import facts
from service.core.facts import (
    ChangeCompleted,
    Fact,
    FileDownloadEnded,
    ObserverFailed,
    TransactionCommitted,
)
from service.translation.facts import DeletesHeld, HostFailing, ReadEnded, RecordsTranslated
from service.webhooks import facts as webhooks

REPEAT_SECONDS = 60.0
"""Time for which a message of the same kind is not logged again."""

KINDS_MAX = 1000
"""Most kinds of messages whose last time is remembered."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
LEVEL_OF: dict[type[Fact], Literal["debug", "info", "warning", "error"]] = {
    facts.BreakerOpened: "warning",
    facts.CallRetried: "debug",
    facts.CallFailed: "warning",
    facts.CredentialsRefused: "error",
    facts.DeadLetterLimitReached: "error",
    facts.DeadLettersTruncated: "warning",
    facts.DeleteCeilingReached: "error",
    facts.FamilyFailing: "warning",
    facts.FileRemembered: "debug",
    facts.FileUploadEnded: "debug",
    facts.ObserverFailed: "error",
    facts.GroupBegunAgain: "warning",
    facts.GroupTooLarge: "warning",
    facts.KafkaUnreachable: "error",
    facts.OffsetMapUnused: "error",
    facts.PartitionsUnreadable: "error",
    facts.PositionLost: "error",
    facts.RequestEnded: "debug",
    facts.TransactionCommitted: "debug",
    facts.TransactionRefused: "warning",
    facts.TransactionRetried: "warning",
    facts.StructureRead: "debug",
    facts.WindowClosed: "debug",
    console.IndexRebuilt: "warning",
    console.OutcomesIndexed: "debug",
    console.OutcomesMissed: "warning",
    console.PageAnswered: "debug",
    console.ReplicaUnreachable: "warning",
    console.SearchEnded: "debug",
    webhooks.KeyNotFetched: "warning",
    webhooks.ProducerReplaced: "warning",
    webhooks.RecordNotWritten: "error",
    webhooks.RequestAnswered: "debug",
    webhooks.RequestRefused: "warning",
    webhooks.RequestTurnedAway: "warning",
    webhooks.RequestUnjudged: "error",
    webhooks.SubscriptionNotConfirmed: "warning",
    DeletesHeld: "error",
    HostFailing: "warning",
    ReadEnded: "debug",
    RecordsTranslated: "debug",
}
"""All other facts are logged as info."""

_KIND_OF: dict[type[Fact], tuple[str, ...]] = {
    ObserverFailed: ("observer", "while_noting"),
    console.ReplicaUnreachable: ("address",),
    webhooks.KeyNotFetched: (),
    webhooks.RecordNotWritten: ("topic",),
    webhooks.RequestRefused: ("source", "why"),
    webhooks.RequestTurnedAway: ("source", "why"),
    webhooks.RequestUnjudged: ("source", "why"),
    webhooks.SubscriptionNotConfirmed: ("source",),
}
"""Facts that can come in floods: those with the same values of these fields are one kind, which is
logged once a minute. The metrics count all."""


def configure(form: Literal["json", "console"] | None, level: str) -> None:
    """Set up structlog and the standard library's logging to write to stdout."""
    is_console = form == "console" or (form is None and sys.stdout.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), repr_native_str=True)
        if is_console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_ToStructlog()])


class _ToStructlog(logging.Handler):
    """Logs messages of libraries in the same format, each kind of message once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[tuple[str, str], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log the message, unless it was logged in the last minute, as by a client that retries."""
        kind = (record.name, str(record.msg))
        if record.created < self._logged_at.get(kind, 0.0) + REPEAT_SECONDS:
            return
        if len(self._logged_at) >= KINDS_MAX:
            self._logged_at.clear()
        self._logged_at[kind] = record.created
        log = structlog.get_logger()
        log.log(record.levelno, _event(record), library=record.name, message=record.getMessage())


class LogObserver:
    """An `Observer` that logs each fact as one line."""

    def __init__(self, level: str = "info", **names: str) -> None:
        """Log from this level on; `names` are fields of every line."""
        self._log = structlog.get_logger().bind(**names)
        self._is_debugging = level == "debug"
        self._logged_at: dict[object, float] = {}

    def note(self, fact: Fact) -> None:
        """Log the fact at its level.

        The message of an outcome may quote an asset's values, so it is logged at debug only.
        """
        level = _LEVELS[_level_of(fact)]
        if level < _LEVELS["info"] and not self._is_debugging:
            return
        if type(fact) in _KIND_OF and not self._is_due(fact):
            return
        fields = msgspec.structs.asdict(fact)
        if isinstance(fact, TransactionCommitted | RecordsTranslated):
            del fields["completed"]
        if isinstance(fact, ChangeCompleted) and not self._is_debugging:
            del fields["message"]
        self._log.log(level, fact.name, **fields)

    def _is_due(self, fact: Fact) -> bool:
        """Return whether to log a fact of this kind: once a minute."""
        kind = (fact.name, *(getattr(fact, name) for name in _KIND_OF[type(fact)]))
        now = time.monotonic()
        if now < self._logged_at.get(kind, float("-inf")) + REPEAT_SECONDS:
            return False
        self._logged_at[kind] = now
        return True


def _level_of(fact: Fact) -> str:
    if isinstance(fact, ChangeCompleted):
        return "warning" if fact.status in DEAD_STATUSES else "debug"
    if isinstance(fact, FileDownloadEnded):
        return "warning" if fact.end == "failed" else "debug"
    return LEVEL_OF.get(type(fact), "info")


def _event(record: logging.LogRecord) -> str:
    is_kafka = record.name.startswith(("aiokafka", "faststream"))
    return "kafka.client_error" if is_kafka else "library.error"
