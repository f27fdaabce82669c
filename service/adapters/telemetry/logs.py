"""structlog: JSON, or colours on a terminal; one line a fact."""

import logging
import sys
from typing import Literal

import structlog

from service.core.effects import FactName, Note

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_LEVEL_OF: dict[FactName, Literal["debug", "info", "warning", "error"]] = {
    "breaker.opened": "warning",
    "call.suspected": "warning",
    "credentials.refused": "error",
    "family.sick": "warning",
    "settlement.cut": "warning",
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
    """What libraries say, in our shape."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        log = structlog.get_logger()
        log.log(record.levelno, "library.said", library=record.name, message=record.getMessage())


class LogObserver:
    """Says facts; a change's outcome only where it is no success."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()

    def note(self, fact: Note) -> None:
        """Say the fact at its level."""
        level = _LEVEL_OF.get(fact.name, "info")
        if fact.name == "change.settled":
            is_bad = fact.fields["status"] in {"rejected", "failed"}
            level = "warning" if is_bad else "debug"
        self._log.log(_LEVELS[level], fact.name, **fact.fields)
