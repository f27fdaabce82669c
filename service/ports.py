"""The seams between the pipeline and its neighbours."""

import contextlib
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, Protocol

from service.core.facts import Fact, ObserverFailed
from service.core.inputs import Answer, CommitRefusal
from service.core.model import Moment, Origin, Partition
from service.core.records import Transaction
from service.core.requests import Request

Route = Literal[
    "token", "upsert", "delete", "family", "families", "attributes", "options", "option", "other"
]
"""What a request to the PIM is for."""

RequestEnd = Literal["2xx", "3xx", "4xx", "429", "5xx", "timeout", "connection", "cancelled"]
"""How it ended: by its status, or without one."""


def status_class(status: int) -> RequestEnd:
    """The class of an HTTP status; 429 stands alone."""
    classes: dict[int, RequestEnd] = {2: "2xx", 3: "3xx", 4: "4xx"}
    return "429" if status == HTTPStatus.TOO_MANY_REQUESTS else classes.get(status // 100, "5xx")


class FatalError(Exception):
    """Nothing more can be promised: the process ends with 1, a restart reads the truth."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at a neighbour found, and what to do about it."""

    grade: Literal["ok", "warning", "failed"]
    message: str
    remedy: str = ""


class Clock(Protocol):
    """Time, handed in."""

    def now(self) -> Moment:
        """Now, by a monotonic clock and in UTC."""
        ...


class AssetApi(Protocol):
    """The PIM's Asset API."""

    async def send(
        self,
        request: Request,
        origins: tuple[Origin, ...] = (),
        *,
        permit: Callable[[], Awaitable[None]],
        may_write: Callable[[], bool],
    ) -> Answer:
        """Send one request and translate its answer; never retries, never interprets.

        Args:
            request: what to send.
            origins: the changes that it carries, for those who trace.
            permit: awaited before each further request (a token) that this one needs.
            may_write: asked right before the request leaves; if not, it ends as CUT.
        """
        ...


class OutcomeLog(Protocol):
    """The transactional log of outcomes, dead letters and positions."""

    async def write(self, transaction: Transaction) -> CommitRefusal | None:
        """Write all of it or nothing. None: it is committed.

        Raises:
            FatalError: it is unknown whether it was written, or nothing can be any more.
        """
        ...


class Intake(Protocol):
    """The tap of the events topics."""

    def set_paused(self, partitions: frozenset[Partition]) -> None:
        """From now on exactly these partitions are paused."""
        ...


class Observer(Protocol):
    """Who is told of facts: logs and meters."""

    def note(self, fact: Fact) -> None:
        """A fact happened."""
        ...


class Observers:
    """Tells several observers. An observer that raises is reported to all; it ends nothing."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = list(observers)

    def add(self, observer: Observer) -> None:
        """Tell this one too, from now on."""
        self._observers.append(observer)

    def note(self, fact: Fact) -> None:
        """Tell each."""
        for observer in self._observers:
            try:
                observer.note(fact)
            except Exception as error:  # noqa: BLE001 - the service works without its observers
                self.report(observer, fact.name, error)

    def report(self, observer: object, while_noting: str, error: Exception) -> None:
        """Tell every observer that one of them raised; whoever fails on this too stays silent."""
        failed = ObserverFailed(
            observer=type(observer).__name__,
            while_noting=while_noting,
            error=repr(error),
            traceback="".join(traceback.format_exception(error)),
        )
        for one in self._observers:
            with contextlib.suppress(Exception):
                one.note(failed)
