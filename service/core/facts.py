"""Facts: the events that logs, metrics, traces and the status page show. Facts decide nothing.

Rule 1: each fact is a struct of its own, so that a misspelt field is found before it runs.
Rule 2: `name` is the log event, and every field but `completed` is a field of the log line.
"""

from typing import ClassVar, Literal

import msgspec

from service.contracts.outcome import Action, Reason, Status
from service.core.records import CompletedChange

RetryCause = Literal["throttled", "cancelled", "item", "refused", "forbidden"]
"""Why a call, or a part of it, is sent again, apart from a failing PIM."""

ClosedBy = Literal["time", "assets", "bytes", "drain"]
"""The reason why a window became due."""


DownloadEndName = Literal["downloaded", "not_modified", "refused", "failed", "cancelled"]
"""How a download ended."""

UploadEndName = Literal["uploaded", "refused", "failed"]
"""How an upload ended; one that is cancelled or throttled has not ended."""

RememberedBy = Literal["sha256", "etag", "content"]
"""How it was known: from the event before anything was fetched, from the source's answer that the
file has not changed, or from what was fetched."""


class Fact(msgspec.Struct, frozen=True):
    """Something that happened."""

    name: ClassVar[str]


class BreakerOpened(Fact, frozen=True):
    """The PIM is taken to be unavailable; `message` describes the failure of the last call."""

    name: ClassVar[str] = "breaker.opened"
    families: tuple[str, ...]
    """Some of those whose calls failed in a row."""
    reason: Reason
    status: int | None
    message: str | None
    probe_in_seconds: float


class BreakerClosed(Fact, frozen=True):
    """A call to this family showed that the PIM is available again."""

    name: ClassVar[str] = "breaker.closed"
    family: str
    seconds: float
    """How long it was unavailable."""


class CallRetried(Fact, frozen=True):
    """A call, or a part of it, will be sent again."""

    name: ClassVar[str] = "pim.call_retried"
    family: str
    action: Action
    cause: RetryCause


class CallFailed(Fact, frozen=True):
    """A call got no usable answer; whether the PIM or the call is to blame is not known yet."""

    name: ClassVar[str] = "pim.call_failed"
    family: str
    action: Action
    assets: int
    status: int | None
    reason: Reason
    message: str | None


class ChangeCompleted(Fact, frozen=True):
    """A change ended with an outcome other than plain success."""

    name: ClassVar[str] = "change.completed"
    outcome: str
    """The id of its outcome."""
    asset: str | None
    status: Status
    reason: Reason
    message: str


class CredentialsRefused(Fact, frozen=True):
    """The PIM refused the credentials of the connection."""

    name: ClassVar[str] = "credentials.refused"
    call: int
    message: str


class DeadLetterLimitReached(Fact, frozen=True):
    """Intake and calls stop: too many of the last changes would be dead-lettered."""

    name: ClassVar[str] = "dead_letters.limit_reached"
    dead_letters: int
    of_last: int


class DeadLettersReleased(Fact, frozen=True):
    """An operator released the changes that the limit on dead letters held back."""

    name: ClassVar[str] = "dead_letters.released"
    changes: int


class DeleteCeilingReached(Fact, frozen=True):
    """Further deletes of this family wait until an operator releases them."""

    name: ClassVar[str] = "deletes.ceiling_reached"
    family: str


class DeletesReleased(Fact, frozen=True):
    """An operator released the deletes that the ceiling held back, and the changes behind them."""

    name: ClassVar[str] = "deletes.released"
    changes: int


class DeadLettersTruncated(Fact, frozen=True):
    """The topic refused dead letters as too large: they were shortened, or dropped."""

    name: ClassVar[str] = "dead_letters.truncated"
    records: int
    dropped: int


class FamilyFailing(Fact, frozen=True):
    """The calls of this family and action fail while others succeed."""

    name: ClassVar[str] = "family.failing"
    family: str
    action: Action
    reason: Reason | None
    status: int | None
    message: str | None


class FamilyRecovered(Fact, frozen=True):
    """A call of a failing family and action succeeded."""

    name: ClassVar[str] = "family.recovered"
    family: str
    action: Action
    seconds: float
    """How long it failed."""


class PimThrottled(Fact, frozen=True):
    """The PIM answered 429: nothing is sent for this many seconds."""

    name: ClassVar[str] = "pim.throttled"
    seconds: float


class PimThrottlingEnded(Fact, frozen=True):
    """The first call after a 429 was answered."""

    name: ClassVar[str] = "pim.throttling_ended"


class FileDownloadEnded(Fact, frozen=True):
    """A download of a file of an asset ended."""

    name: ClassVar[str] = "media.download_ended"
    url: str
    """Without its query, which may hold a signature."""
    end: DownloadEndName
    seconds: float
    size: int
    """Bytes on disk; 0 where nothing was fetched."""
    message: str | None


class FileUploadEnded(Fact, frozen=True):
    """The PIM answered an upload, or did not."""

    name: ClassVar[str] = "media.upload_ended"
    end: UploadEndName
    seconds: float
    size: int


class FileRemembered(Fact, frozen=True):
    """A file was not uploaded again, since the PIM has it already."""

    name: ClassVar[str] = "media.remembered"
    by: RememberedBy


class GroupBegun(Fact, frozen=True):
    """The consumer group had no position; `message` says where it begins."""

    name: ClassVar[str] = "group.begun"
    message: str


class GroupBegunAgain(Fact, frozen=True):
    """The consumer group had no position although outcomes were written before."""

    name: ClassVar[str] = "group.begun_again"
    message: str


class GroupTooLarge(Fact, frozen=True):
    """The group has more members than the PIM's concurrent calls can be shared among."""

    name: ClassVar[str] = "group.too_large"
    message: str


class IntakePaused(Fact, frozen=True):
    """Intake of some partitions is paused, with this many changes pending."""

    name: ClassVar[str] = "intake.paused"
    partitions: int
    pending: int


class IntakeResumed(Fact, frozen=True):
    """No partition is paused any longer."""

    name: ClassVar[str] = "intake.resumed"
    partitions: int
    pending: int


class KafkaReachable(Fact, frozen=True):
    """Kafka answers again."""

    name: ClassVar[str] = "kafka.reachable"
    bootstrap_servers: str


class KafkaUnreachable(Fact, frozen=True):
    """Kafka does not answer; the service waits for it."""

    name: ClassVar[str] = "kafka.unreachable"
    bootstrap_servers: str
    message: str


class ObserverFailed(Fact, frozen=True):
    """Logging, metrics, traces or the status page raised: a bug of ours that ends nothing."""

    name: ClassVar[str] = "observer.failed"
    observer: str
    while_noting: str
    error: str
    traceback: str


class OffsetMapUnused(Fact, frozen=True):
    """An offset map did not belong to its position; everything above is read again."""

    name: ClassVar[str] = "offset_map.unused"
    message: str


class PartitionsUnreadable(Fact, frozen=True):
    """The leaders of assigned partitions do not answer; the other partitions are read meanwhile."""

    name: ClassVar[str] = "partitions.unreadable"
    message: str


class PositionLost(Fact, frozen=True):
    """The broker no longer has a committed position."""

    name: ClassVar[str] = "position.lost"
    message: str


class OptionCreated(Fact, frozen=True):
    """An option that a value named was created in the PIM."""

    name: ClassVar[str] = "option.created"
    family: str
    attribute: str
    option: str


class OptionRefused(Fact, frozen=True):
    """The PIM did not create an option that a value named."""

    name: ClassVar[str] = "option.refused"
    family: str
    attribute: str
    option: str


class RequestEnded(Fact, frozen=True):
    """One HTTP request to the PIM ended."""

    name: ClassVar[str] = "request.ended"
    route: str
    method: str
    path: str
    ended: str
    """Its class of status, or why there was no answer."""
    seconds: float


class StructureRead(Fact, frozen=True):
    """The attributes and options of a family were read."""

    name: ClassVar[str] = "structure.read"
    family: str


class StructureUnreadable(Fact, frozen=True):
    """The attributes or options of a family could not be read."""

    name: ClassVar[str] = "structure.unreadable"
    family: str


class TransactionCommitted(Fact, frozen=True):
    """Outcomes and positions are committed to Kafka."""

    name: ClassVar[str] = "transaction.committed"
    outcomes: int
    seconds: float
    """From the choice of the outcomes to the commit."""
    completed: tuple[CompletedChange, ...]


class TransactionRefused(Fact, frozen=True):
    """Kafka refused the positions and the transaction was aborted."""

    name: ClassVar[str] = "transaction.refused"
    why: str


class TransactionRetried(Fact, frozen=True):
    """A transaction of which nothing can be committed any more is written again."""

    name: ClassVar[str] = "transaction.retried"
    message: str


class WindowClosed(Fact, frozen=True):
    """A batch was taken from a family's due window for a call."""

    name: ClassVar[str] = "window.closed"
    family: str
    action: Action
    by: ClosedBy
    waited_seconds: float
    assets: int
