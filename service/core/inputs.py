"""What the core is told, in the past tense: the only way in is `Pipeline.step`."""

from collections.abc import Mapping
from enum import Enum

import msgspec

from service.core.model import UNBOUND, Binding, Partition, SourceRecord
from service.core.values import Attribute


class Arrived(msgspec.Struct, frozen=True):
    """Records were read, in offset order within each partition."""

    records: tuple[SourceRecord, ...]


class Start(msgspec.Struct, frozen=True):
    """Where a partition begins: the committed position, and what is settled above it.

    What is committed of the partition is bound to `binding`.
    """

    position: int
    committed_above: frozenset[int] = frozenset()
    binding: Binding = UNBOUND


class Assigned(msgspec.Struct, frozen=True):
    """The group gave us partitions. `partitions_total` counts all of the events topics."""

    epoch: int
    partitions: Mapping[Partition, Start]
    partitions_total: int


class DrainKind(Enum):
    """Why work ends."""

    SHUTDOWN = "shutdown"
    REVOCATION = "revocation"


class DrainStarted(msgspec.Struct, frozen=True):
    """Finish until `deadline` (seconds): everything open at a shutdown, else calls in flight."""

    kind: DrainKind
    deadline: float


class Forgotten(msgspec.Struct, frozen=True):
    """The assignment is over, drained or lost: everything of its epoch is dropped."""


class LeaseRenewed(msgspec.Struct, frozen=True):
    """The coordinator acknowledged us; calls may start and live until `until` (seconds)."""

    until: float


class FaultKind(Enum):
    """Why no answer came."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    CREDENTIALS = "credentials"
    CANCELLED = "cancelled"
    """By us: the lease or a drain ended. Neither suspicion nor attempt."""


class CallFault(msgspec.Struct, frozen=True):
    """A request without an answer; `message` is for a person."""

    kind: FaultKind
    message: str


class ItemReply(msgspec.Struct, frozen=True, gc=False):
    """One element of a bulk answer (akeneo.md §2.2)."""

    code: str | None
    status: int | None
    message: str | None = None
    errors: tuple[msgspec.Raw, ...] = ()


CANCELLED = CallFault(FaultKind.CANCELLED, "Given up by asset-sync.")


class CallReply(msgspec.Struct, frozen=True):
    """An answer. `is_from_pim` says that its body is the PIM's own (an error object or a list)."""

    status: int
    is_from_pim: bool = False
    items: tuple[ItemReply, ...] | None = None
    message: str | None = None
    errors: tuple[msgspec.Raw, ...] = ()
    retry_after_seconds: float | None = None
    attributes: tuple[Attribute, ...] | None = None
    """Of a family, where that was asked for."""
    options: frozenset[str] | None = None
    """Codes of an attribute's options, likewise."""
    families: frozenset[str] | None = None
    """Codes of all families, where their list was asked for and is complete."""


Answer = CallReply | CallFault


class CallEnded(msgspec.Struct, frozen=True):
    """The request of a call ended."""

    call_id: int
    answer: Answer


class RequestWanted(msgspec.Struct, frozen=True):
    """A call needs one more request (a token) before its own: it takes from the rate."""

    call_id: int


class Committed(msgspec.Struct, frozen=True):
    """The settlement of this number is on the log."""

    number: int


class CommitRefusal(Enum):
    """Why a settlement was aborted; anything else ends the process."""

    METADATA_TOO_LARGE = "metadata_too_large"
    REBALANCE_IN_PROGRESS = "rebalance_in_progress"
    FENCED = "fenced"


class CommitRefused(msgspec.Struct, frozen=True):
    """The settlement of this number was aborted and nothing of it is visible."""

    number: int
    why: CommitRefusal


class Released(msgspec.Struct, frozen=True):
    """A person looked at what the limit on dead letters holds back, and lets it go."""

    ends: Mapping[Partition, int] = msgspec.field(default_factory=dict)
    """Where the partitions end by now, as far as known: what is below is released as well."""


class TimePassed(msgspec.Struct, frozen=True):
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
