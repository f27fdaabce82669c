"""What the core is told, in the past tense: the only way in is `Pipeline.step`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import msgspec

from service.core.model import Partition, SourceRecord
from service.core.structure import Attribute


@dataclass(frozen=True, slots=True)
class Arrived:
    """Records were read, in offset order within each partition."""

    records: tuple[SourceRecord, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Where a partition begins: the committed position, and what is settled above it."""

    position: int
    settled: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Assigned:
    """The group gave us partitions. `partitions_total` counts all of the events topics."""

    epoch: int
    partitions: Mapping[Partition, Start]
    partitions_total: int


class DrainKind(Enum):
    """Why work ends."""

    SHUTDOWN = "shutdown"
    REVOCATION = "revocation"


@dataclass(frozen=True, slots=True)
class DrainStarted:
    """Finish until `deadline` (seconds): everything open at a shutdown, else calls in flight."""

    kind: DrainKind
    deadline: float


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The assignment is over, drained or lost: everything of its epoch is dropped."""


@dataclass(frozen=True, slots=True)
class LeaseRenewed:
    """The coordinator acknowledged us; calls may start and live until `until` (seconds)."""

    until: float


class FaultKind(Enum):
    """Why no answer came."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    CREDENTIALS = "credentials"
    CUT = "cut"
    """By us: the lease or a drain ended. Neither suspicion nor attempt."""


@dataclass(frozen=True, slots=True)
class CallFault:
    """A request without an answer; `message` is for a person."""

    kind: FaultKind
    message: str


class ItemReply(msgspec.Struct, frozen=True, gc=False):
    """One element of a bulk answer (akeneo.md §2.2)."""

    code: str | None
    status: int | None
    message: str | None = None
    errors: tuple[msgspec.Raw, ...] = ()


@dataclass(frozen=True, slots=True)
class CallReply:
    """An answer. `own_json` says that its body is the PIM's own (an error object or a list)."""

    status: int
    own_json: bool = False
    items: tuple[ItemReply, ...] | None = None
    message: str | None = None
    errors: tuple[msgspec.Raw, ...] = ()
    retry_after_seconds: float | None = None
    attributes: tuple[Attribute, ...] | None = None
    """Of a family, where that was asked for."""
    options: frozenset[str] | None = None
    """Codes of an attribute's options, likewise."""


Answer = CallReply | CallFault


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The request of a call ended."""

    call_id: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class RequestWanted:
    """A call needs one more request (a token) before its own: it takes from the rate."""

    call_id: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The settlement of this number is on the log."""

    number: int


class CommitRefusal(Enum):
    """Why a settlement was aborted; anything else ends the process."""

    METADATA_TOO_LARGE = "metadata_too_large"
    REBALANCE_IN_PROGRESS = "rebalance_in_progress"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class CommitRefused:
    """The settlement of this number was aborted and nothing of it is visible."""

    number: int
    why: CommitRefusal


@dataclass(frozen=True, slots=True)
class Released:
    """A person looked at what the limit on dead letters holds back, and lets it go."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened but time."""


Input = (
    Arrived
    | Assigned
    | DrainStarted
    | Forgotten
    | LeaseRenewed
    | CallEnded
    | RequestWanted
    | Committed
    | CommitRefused
    | Released
    | TimePassed
)
