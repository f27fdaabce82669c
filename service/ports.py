"""The ports: the protocols by which the pipeline reaches Kafka, the PIM, the clock and logs."""

import contextlib
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, NamedTuple, Protocol

from service.console.entry import StoredOutcome
from service.console.facts import WhyRebuilt
from service.console.waiting import Waiting
from service.core.effects import StartDownload
from service.core.facts import Fact, ObserverFailed
from service.core.inputs import Answer, Arrived, CommonInput, DownloadEnd, DrainKind, Refusal
from service.core.model import Moment, Origin, Partition
from service.core.records import Transaction
from service.core.requests import (
    CreateOption,
    DeleteOne,
    GetAttributes,
    GetFamilies,
    GetFamily,
    GetOptions,
    Request,
    UploadFile,
    UpsertAssets,
)
from service.translation.read_answers import ReadAnswer
from service.webhooks.record import IngressRecord

RequestKind = Literal[
    "token",
    "upsert",
    "delete",
    "family",
    "families",
    "attributes",
    "options",
    "option",
    "media",
    "other",
]
"""The purpose of a request to the PIM, for logs and metrics."""


class Endpoint(NamedTuple):
    """The endpoint of the Asset API that a request goes to; codes fill in the path's template."""

    kind: RequestKind
    method: str
    template: str


FAMILIES_PATH = "/api/rest/v1/asset-families"
MEDIA_FILES_PATH = "/api/rest/v1/asset-media-files"
_FAMILY = FAMILIES_PATH + "/{asset_family_code}"
_ATTRIBUTES = _FAMILY + "/attributes"
_OPTIONS = _ATTRIBUTES + "/{attribute_code}/options"

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux stops its monotonic clock while the machine is suspended."""

ENDPOINTS: Mapping[type[Request], Endpoint] = {
    UpsertAssets: Endpoint("upsert", "PATCH", _FAMILY + "/assets"),
    DeleteOne: Endpoint("delete", "DELETE", _FAMILY + "/assets/{code}"),
    GetFamily: Endpoint("family", "GET", _FAMILY),
    GetFamilies: Endpoint("families", "GET", FAMILIES_PATH),
    GetAttributes: Endpoint("attributes", "GET", _ATTRIBUTES),
    GetOptions: Endpoint("options", "GET", _OPTIONS),
    CreateOption: Endpoint("option", "PATCH", _OPTIONS + "/{code}"),
    UploadFile: Endpoint("media", "POST", MEDIA_FILES_PATH),
}

RequestEnd = Literal["2xx", "3xx", "4xx", "429", "5xx", "timeout", "connection", "cancelled"]
"""How a request to the PIM ended: the class of its HTTP status, or why there is no status."""


def status_class(status: int) -> RequestEnd:
    """Return the class of an HTTP status; 429 is separate, because it means throttling."""
    classes: dict[int, RequestEnd] = {2: "2xx", 3: "3xx", 4: "4xx"}
    return "429" if status == HTTPStatus.TOO_MANY_REQUESTS else classes.get(status // 100, "5xx")


class FatalError(Exception):
    """The process must end with exit code 1, because it cannot go on.

    One reason is a commit whose result is unknown: only a restart can read what is committed.
    """


Grade = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A result of `asset-sync check`, with what to do about it."""

    grade: Grade
    message: str
    remedy: str = ""


def clock_seconds() -> float:
    """Return monotonic seconds that pass while the machine is suspended too, where it tells them.

    The session of a group goes on meanwhile at the broker, and so has the lease to. All times that
    a state machine meets are of this clock.
    """
    return time.clock_gettime(_CLOCK)


class Clock(Protocol):
    """A clock, so that tests can set the time."""

    def now(self) -> Moment:
        """Return the time of a monotonic clock and in UTC."""
        ...


class AssetApi(Protocol):
    """The Asset API of the PIM, for one request at a time."""

    async def send(
        self,
        request: Request,
        origins: tuple[Origin, ...] = (),
        *,
        permit: Callable[[], Awaitable[None]],
        may_write: Callable[[], bool],
    ) -> Answer:
        """Send one request and return its answer, without retrying it or judging it.

        Args:
            request: what to send.
            origins: the records whose changes the request carries; traces link to them.
            permit: awaited before each additional request, such as one for a token, so that the
                rate limit counts it.
            may_write: asked right before the request is sent; if it returns False, nothing is sent
                and the answer is `CANCELLED`.
        """
        ...


class DamHosts(Protocol):
    """The hosts of the sources file, from which assets are read."""

    async def get(self, host: str, url: str) -> ReadAnswer:
        """Read the asset at this URL, which is relative to the host's base; never raise."""
        ...


class Downloads(Protocol):
    """The sources of media files, from which a file is downloaded to disk."""

    async def download(self, start: StartDownload) -> DownloadEnd:
        """Download a file; on any other end than `Downloaded`, nothing of it is kept."""
        ...

    def drop(self, file_id: int) -> None:
        """Remove a file that was downloaded; this does not wait."""
        ...


class StoredFiles(Protocol):
    """The media files on disk."""

    async def size(self, file_id: int) -> int:
        """Return the size of a file in bytes.

        Raises:
            OSError: the file cannot be read.
        """
        ...

    def read(self, file_id: int) -> AsyncGenerator[bytes, None]:
        """Yield the content of a file, piece by piece.

        Raises:
            OSError: the file cannot be read.
        """
        ...


class OutcomeLog(Protocol):
    """The transactional log of outcomes, dead letters, changes and positions, which is Kafka."""

    async def write(self, transaction: Transaction) -> Refusal | None:
        """Commit the whole transaction or nothing; None if it is committed.

        Raises:
            FatalError: it is unknown whether the transaction was committed, or no later one can
                be.
        """
        ...


class RawTopics(Protocol):
    """The raw topics, to which ingress writes what the DAMs send."""

    @property
    def unsettled(self) -> int:
        """Records whose writer gave up waiting, and that may still be written."""
        ...

    async def write(self, record: IngressRecord) -> bool:
        """Write one record and return whether the broker has acknowledged it; never raise."""
        ...


class PublishedKeys(Protocol):
    """The certificates and keys with which senders sign, where their owners publish them."""

    async def get(self, url: str) -> bytes | None:
        """Return the key at this URL, or None if it is not available now; never raise."""
        ...

    async def confirm(self, url: str) -> bool:
        """Fetch the URL that confirms a subscription; return whether it worked; never raise."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class OutcomeBatch(NamedTuple):
    """Records of the outcomes topic, and the next offset of each partition after them."""

    records: tuple[StoredOutcome, ...]
    positions: Mapping[int, int]


class OutcomeFeed(Protocol):
    """The outcomes topic, read by somebody who keeps the positions."""

    async def identify(self) -> str:
        """Return the identity of the topic: another one if it was created again."""
        ...

    async def begin(self, positions: Mapping[int, int]) -> bool:
        """Read each partition from its position, or else from where outcomes are wanted.

        Returns:
            False if the topic ends before a position, so that it is not the one that was read.
        """
        ...

    async def read(self) -> OutcomeBatch | None:
        """Return the next records, perhaps none; None if the topic was created again."""
        ...


class OutcomeStore(Protocol):
    """The index of the outcomes."""

    async def open(self, topic: str, why: WhyRebuilt | None = None) -> Mapping[int, int]:
        """Open the index of this topic, or begin a new one; return the next offsets.

        Raises:
            FatalError: its folder cannot be used.
        """
        ...

    async def write(self, batch: OutcomeBatch) -> bool:
        """Add outcomes and positions, if there are any; False if the index is damaged.

        They are committed in one transaction.

        Raises:
            FatalError: its folder cannot be used.
        """
        ...


class Replicas(Protocol):
    """The replicas of `run`."""

    async def ask(self) -> Waiting:
        """Return what the replicas are working on, and which did not answer; never raise."""
        ...


class Intake(Protocol):
    """The consumer of the events topics, as far as it can be paused."""

    def set_paused(self, partitions: frozenset[Partition]) -> None:
        """Pause exactly these partitions, and resume all others."""
        ...


class Inbox(Protocol):
    """The inbox of the pipeline, to which the adapters report what happened."""

    def submit(self, happened: CommonInput) -> None:
        """Report an input without waiting for the pipeline."""
        ...

    async def take_in(self, arrived: Arrived) -> None:
        """Report records, and return when the pipeline has taken them and paused intake if full."""
        ...

    async def drain(self, kind: DrainKind, seconds: float) -> int:
        """Finish open work within this many seconds, and return how many changes stay pending."""
        ...


class Observer(Protocol):
    """A receiver of facts, such as the log or the metrics."""

    def note(self, fact: Fact) -> None:
        """Receive a fact."""
        ...


class Observers:
    """Passes each fact to several observers.

    If one of them raises, the error is reported to all of them, and the service goes on: a bug in
    logging or metrics must not end it.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def note(self, fact: Fact) -> None:
        for observer in self._observers:
            try:
                observer.note(fact)
            except Exception as error:  # noqa: BLE001 - no observer may end the service
                self.report(observer, fact.name, error)

    def report(self, observer: object, while_noting: str, error: Exception) -> None:
        """Report the error of one observer to all; errors on this report are ignored."""
        failed = ObserverFailed(
            observer=type(observer).__name__,
            while_noting=while_noting,
            error=repr(error),
            traceback="".join(traceback.format_exception(error)),
        )
        for receiver in self._observers:
            with contextlib.suppress(Exception):
                receiver.note(failed)
