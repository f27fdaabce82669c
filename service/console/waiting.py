"""What the replicas of `run` say that they are working on, from their status page's data."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from service.contracts.json_flaw import UNREADABLE


class FamilyWork(msgspec.Struct, frozen=True, gc=False):
    """The open work of one family at one replica, or at all of them."""

    family: str
    waiting: int = 0
    in_flight: int = 0
    waiting_for_retry: int = 0
    failing: str = ""

    @property
    def changes(self) -> int:
        return self.waiting + self.in_flight + self.waiting_for_retry


class PartitionWork(msgspec.Struct, frozen=True, gc=False):
    """How many records of a partition are not read yet."""

    lag: int = 0


class Replica(msgspec.Struct, frozen=True, gc=False):
    """The state of one replica. Members that a later version adds are ignored.

    Attributes:
        waiting: Why nothing is sent at present, or None.
        held: Whose deletes wait for an operator, or empty.
    """

    waiting: str | None = None
    held: str = ""
    pending_changes: int = 0
    families: tuple[FamilyWork, ...] = ()
    partitions: tuple[PartitionWork, ...] = ()


class Unreachable(NamedTuple):
    """A replica that did not say its state; `why` is a sentence."""

    address: str
    why: str


class Waiting(NamedTuple):
    """The state of all replicas that answered, and which did not."""

    replicas: tuple[Replica, ...]
    unreachable: tuple[Unreachable, ...]

    @property
    def unread(self) -> int:
        """Events that no replica has read yet, as far as the replicas know."""
        return sum(one.lag for replica in self.replicas for one in replica.partitions)

    @property
    def pending(self) -> int:
        """Changes that were read, and whose outcome is not written yet."""
        return sum(replica.pending_changes for replica in self.replicas)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why replicas send nothing or hold something back, each sentence once."""
        found = (why for replica in self.replicas for why in (replica.waiting, replica.held))
        return tuple(dict.fromkeys(why for why in found if why))

    @property
    def families(self) -> tuple[FamilyWork, ...]:
        """The open work of each family over all replicas, most work first."""
        return tuple(sorted(_added(self.replicas), key=lambda one: (-one.changes, one.family)))


_decoder = msgspec.json.Decoder(Replica)


def read_replica(body: bytes) -> Replica | None:
    """Return the state that a replica answered with, or None if it is not one."""
    try:
        return _decoder.decode(body)
    except UNREADABLE:
        return None


def _added(replicas: Iterable[Replica]) -> Iterable[FamilyWork]:
    sums: dict[str, FamilyWork] = {}
    for replica in replicas:
        for one in replica.families:
            before = sums.get(one.family, FamilyWork(one.family))
            sums[one.family] = FamilyWork(
                one.family,
                before.waiting + one.waiting,
                before.in_flight + one.in_flight,
                before.waiting_for_retry + one.waiting_for_retry,
                before.failing or one.failing,
            )
    return sums.values()
