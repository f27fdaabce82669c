"""What the core asks for, in the imperative. The shell performs; it decides nothing."""

import msgspec

from service.core.facts import Fact
from service.core.model import Origin, Partition
from service.core.records import Transaction
from service.core.requests import Request


class StartCall(msgspec.Struct, frozen=True):
    """Send this request; answer with one `CallEnded`."""

    call_id: int
    request: Request
    origins: tuple[Origin, ...] = ()
    """The changes that a write carries, for those who trace."""


class CancelCall(msgspec.Struct, frozen=True):
    """Give up a request in flight; it ends as a `CallFault` of kind CUT."""

    call_id: int


class AllowRequest(msgspec.Struct, frozen=True):
    """The extra request that a call wanted may go out."""

    call_id: int


class Commit(msgspec.Struct, frozen=True):
    """Write the settlement; answer with `Committed` or `CommitRefused` and its number."""

    number: int
    transaction: Transaction


class SetIntake(msgspec.Struct, frozen=True):
    """From now on exactly these partitions are paused."""

    paused: frozenset[Partition]


class Drained(msgspec.Struct, frozen=True):
    """The drain is over. `pending` changes were left to the next owner."""

    pending: int


class DropAssignment(msgspec.Struct, frozen=True):
    """The group fenced us: this epoch is over, without a last transaction."""


Effect = (
    StartCall | CancelCall | AllowRequest | Commit | SetIntake | Drained | DropAssignment | Fact
)
