"""structlog: JSON, or colours on a terminal; one line a fact."""

import logging
import sys
import time
from typing import Literal

import structlog

from service.contracts.outcome import DEAD_STATUSES
from service.core.facts import FactName, Note

REPEAT_SECONDS = 60.0
SENTENCES_MAX = 1000

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_LEVEL_OF: dict[FactName, Literal["debug", "info", "warning", "error"]] = {
    "breaker.opened": "warning",
    "pim.call_retried": "debug",
    "pim.call_failed": "warning",
    "credentials.refused": "error",
    "dead_letters.limit_reached": "error",
    "dead_letters.truncated": "warning",
    "family.failing": "warning",
    "observer.failed": "error",
    "group.begun_again": "warning",
    "group.too_large": "warning",
    "kafka.unreachable": "error",
    "offset_map.unused": "error",
    "position.lost": "error",
    "request.ended": "debug",
    "transaction.committed": "debug",
    "transaction.refused": "warning",
    "transaction.retried": "warning",
    "structure.read": "debug",
    "window.closed": "debug",
}


def configure(form: Literal["json", "console"] | None, level: str) -> None:
    """Set up logging for the process, on stdout."""
    is_console = form == "console" or (form is None and sys.stdout.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
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
    """What libraries say, in our shape; each sentence once a minute, whatever it is about."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[tuple[str, str], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, unless it was said a moment ago: a client that tries again says so each time."""
        sentence = (record.name, str(record.msg))
        if record.created < self._said_at.get(sentence, 0.0) + REPEAT_SECONDS:
            return
        if len(self._said_at) >= SENTENCES_MAX:
            self._said_at.clear()
        self._said_at[sentence] = record.created
        log = structlog.get_logger()
        log.log(record.levelno, _event(record), library=record.name, message=record.getMessage())


class LogObserver:
    """Says facts, a line each."""

    def __init__(self, level: str = "info") -> None:
        self._log = structlog.get_logger()
        self._is_debugging = level == "debug"
        self._failures_said_at: dict[object, float] = {}

    def note(self, fact: Note) -> None:
        """Say the fact at its level; a message may quote an asset's values: in debug only."""
        level = _LEVELS[_level_of(fact)]
        if level < _LEVELS["info"] and not self._is_debugging:
            return
        if fact.name == "observer.failed" and not self._is_due(fact):
            return
        fields = dict(fact.fields)
        if fact.name == "change.completed" and not self._is_debugging:
            fields.pop("message", None)
        self._log.log(level, fact.name, **fields)

    def _is_due(self, failure: Note) -> bool:
        """Whether to log an observer's error: of each kind once a minute, each is counted."""
        kind = (failure.fields.get("observer"), failure.fields.get("while_noting"))
        now = time.monotonic()
        if now < self._failures_said_at.get(kind, float("-inf")) + REPEAT_SECONDS:
            return False
        self._failures_said_at[kind] = now
        return True


def _level_of(fact: Note) -> str:
    if fact.name == "change.completed":
        return "warning" if fact.fields["status"] in DEAD_STATUSES else "debug"
    return _LEVEL_OF.get(fact.name, "info")


def _event(record: logging.LogRecord) -> str:
    is_kafka = record.name.startswith(("aiokafka", "faststream"))
    return "kafka.client_error" if is_kafka else "library.error"
