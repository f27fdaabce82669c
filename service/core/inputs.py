"""The inputs of the core, named in the past tense. They enter by `Pipeline.step` alone."""

from collections.abc import Mapping
from enum import Enum
from typing import ClassVar

import msgspec

from service.core.model import UNBOUND, Binding, Partition, SourceRecord
from service.core.values import Attribute


class Arrived(msgspec.Struct, frozen=True):
    """Records were read, in offset order within each partition."""

    records: tuple[SourceRecord, ...]


class Start(msgspec.Struct, frozen=True):
    """Where reading of a partition starts, and which offsets above are committed already.

    The partition's offset maps are bound to `binding`.
    """

    position: int
    committed_above: frozenset[int] = frozenset()
    binding: Binding = UNBOUND


class Assigned(msgspec.Struct, frozen=True):
    """The consumer group assigned partitions to this replica.

    `partitions_total` counts the partitions of all events topics, whoever owns them.
    """

    epoch: int
    partitions: Mapping[Partition, Start]
    partitions_total: int


class DrainKind(Enum):
    """The reason for a drain: the process ends, or partitions were revoked."""

    SHUTDOWN = "shutdown"
    REVOCATION = "revocation"


class DrainStarted(msgspec.Struct, frozen=True):
    """Finish until `deadline` (seconds, monotonic clock).

    At a shutdown everything pending is finished, at a revocation only the calls in flight.
    """

    kind: DrainKind
    deadline: float


class Forgotten(msgspec.Struct, frozen=True):
    """The assignment ended, drained or lost: everything of its epoch is dropped."""


class LeaseRenewed(msgspec.Struct, frozen=True):
    """The coordinator acknowledged a heartbeat: calls may run until `until` (seconds)."""

    until: float


class FaultKind(Enum):
    """The reason why a request got no answer."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    CREDENTIALS = "credentials"
    CANCELLED = "cancelled"
    """The lease or a drain ended, so asset-sync cancelled it: not a suspicion, not an attempt."""
    UNSENDABLE = "unsendable"
    """Its family or code cannot be part of a URL, so it was not sent."""
    FILE_LOST = "file_lost"
    """The file to upload cannot be read from disk any more."""

    @property
    def is_local(self) -> bool:
        """Whether asset-sync itself is the reason, so that nothing is known about the PIM."""
        return self in {FaultKind.CANCELLED, FaultKind.UNSENDABLE, FaultKind.FILE_LOST}


class CallFault(msgspec.Struct, frozen=True):
    """A request got no answer; `message` is for a person to read."""

    kind: FaultKind
    message: str


class ItemReply(msgspec.Struct, frozen=True, gc=False):
    """The PIM's result for one asset of a bulk request (akeneo.md §2.2)."""

    code: str | None
    status: int | None
    message: str | None = None
    errors: tuple[msgspec.Raw, ...] = ()


CANCELLED = CallFault(FaultKind.CANCELLED, "Cancelled by asset-sync.")


class CallReply(msgspec.Struct, frozen=True):
    """An answer that came over HTTP.

    `is_from_pim` means that its body has the PIM's form (an error object or a list), so it was not
    written by a proxy in between.
    """

    status: int
    is_from_pim: bool = False
    items: tuple[ItemReply, ...] | None = None
    message: str | None = None
    errors: tuple[msgspec.Raw, ...] = ()
    retry_after_seconds: float | None = None
    attributes: tuple[Attribute, ...] | None = None
    """The attributes of a family, if the request was for them."""
    options: frozenset[str] | None = None
    """The codes of an attribute's options, if the request was for them."""
    families: frozenset[str] | None = None
    """The codes of all families, if the request was for their list and the list is complete."""
    media_code: str | None = None
    """The code of a file that was uploaded, if the PIM gave one."""


Answer = CallReply | CallFault


class CallEnded(msgspec.Struct, frozen=True):
    """A request that belongs to a call ended."""

    call_id: int
    answer: Answer


class RequestWanted(msgspec.Struct, frozen=True):
    """A call must fetch a token first: that request counts against the rate limit too."""

    call_id: int


class Downloaded(msgspec.Struct, frozen=True):
    """The file is on disk."""

    sha256: str
    """In 64 lower-case hex digits."""
    size: int
    """In bytes."""
    etag: str | None = None
    content_type: str | None = None
    """The media type in printable ASCII, as the source said it."""


class NotModified(msgspec.Struct, frozen=True):
    """The file is the one that had the ETag; nothing is on disk."""


class DownloadRefused(msgspec.Struct, frozen=True):
    """The file can never be fetched as it is: its source refuses it, or a limit does."""

    message: str
    is_from_host: bool = True
    """Whether its host answered; otherwise nothing is known about the host."""


class DownloadFault(msgspec.Struct, frozen=True):
    """The file could not be fetched this time; `message` is for a person to read."""

    message: str
    retry_after_seconds: float | None = None
    is_cancelled: bool = False
    """Whether asset-sync cancelled the download, so that it failed by nobody's fault."""
    is_of_disk: bool = False
    """Whether the disk of this replica failed, so that nothing is known about the source."""


DownloadEnd = Downloaded | NotModified | DownloadRefused | DownloadFault


class DownloadEnded(msgspec.Struct, frozen=True):
    """A download ended; unless it is `Downloaded`, it left nothing on disk."""

    file_id: int
    end: DownloadEnd


class Committed(msgspec.Struct, frozen=True):
    """The transaction with this number was committed."""

    number: int


class CommitRefusal(Enum):
    """The reason why a transaction was aborted; any other error ends the process."""

    METADATA_TOO_LARGE = "metadata_too_large"
    REBALANCE_IN_PROGRESS = "rebalance_in_progress"
    FENCED = "fenced"
    NOT_IN_TIME = "not_in_time"
    """Kafka did not take its records in time, so a smaller one is tried."""


class ChangesRefused(msgspec.Struct, frozen=True):
    """The topic of the changes refused some of a transaction's changes as too large."""

    value: ClassVar[str] = "changes_too_large"
    numbers: frozenset[int]
    """Which of the transaction's changes, counted from 0."""


Refusal = CommitRefusal | ChangesRefused
"""Why a transaction was aborted, after which work goes on."""


class CommitRefused(msgspec.Struct, frozen=True):
    """The transaction with this number was aborted; none of its records is visible."""

    number: int
    why: Refusal


class Released(msgspec.Struct, frozen=True):
    """An operator let the changes go that a limit holds back: on dead letters or on deletes."""

    ends: Mapping[Partition, int] = msgspec.field(default_factory=dict)
    """End offsets of the partitions, as far as known: records below them are released as well."""


class TimePassed(msgspec.Struct, frozen=True):
    """Only time passed since the last input."""


CommonInput = (
    Arrived
    | Assigned
    | DrainStarted
    | Forgotten
    | LeaseRenewed
    | Committed
    | CommitRefused
    | Released
    | TimePassed
)
"""What every state machine is told that a runner runs, whatever its requests are."""

RequestInput = CallEnded | RequestWanted
"""What the pipeline is told of its requests to the PIM."""

MediaInput = DownloadEnded
"""What the pipeline is told of the files of assets."""

PipelineInput = RequestInput | MediaInput
"""What the pipeline alone is told."""

Input = CommonInput | PipelineInput
