"""This replica's place in the consumer group: assignment, lease and drain (architecture.md D8).

Rule 1: no call outlives the lease, because the next owner of the partitions may send at once.
Rule 2: a revocation finishes only the calls in flight and leaves the rest to the next owner. A
shutdown finishes all that it can before its deadline, and is never forgotten.
"""

from service.core.effects import Drained, Effect
from service.core.inputs import DrainKind, DrainStarted
from service.core.limits import LAST_TRANSACTION_SECONDS
from service.core.model import Origin
from service.core.send.dispatcher import Dispatcher
from service.core.settle.outbox import Outbox


class Membership:
    """Knows whether records are ours, and whether calls may be sent."""

    def __init__(self, dispatcher: Dispatcher, outbox: Outbox, effects: list[Effect]) -> None:
        self._dispatcher = dispatcher
        self._outbox = outbox
        self._effects = effects
        self._epoch = -1
        self.is_assigned = False
        self._lease_until = float("-inf")
        self._is_cancelled = False
        """Whether the requests in flight were cancelled, for want of the lease or of time."""
        self.drain: DrainStarted | None = None
        self._is_drained = False
        self._shutdown: DrainStarted | None = None
        """A shutdown that began; it goes on after a revocation that comes in between."""
        self._left = 0
        """Changes that the last fencing left to their next owner."""

    # --- assignment --------------------------------------------------------------------------

    def begin(self, epoch: int) -> None:
        """Begin an assignment."""
        assert epoch > self._epoch
        self._epoch = epoch
        self.is_assigned = True
        self._left = 0

    def fenced(self) -> None:
        """Remember what is left to the next owner, because the group fenced this replica."""
        self._left = self._outbox.ledger.pending_changes

    def end(self) -> None:
        """End the assignment, and with it a revocation that was drained."""
        self.is_assigned = False
        if self.drain is None or self.drain.kind is not DrainKind.REVOCATION:
            return
        if not self._is_drained:  # fenced meanwhile: somebody still waits for the drain's end
            self._effects.append(Drained(self._left))
        self.drain = self._shutdown
        self._is_drained = False

    def admits(self, origin: Origin) -> bool:
        """Return whether a record of this origin may be taken in."""
        return self.is_assigned and origin.epoch == self._epoch and self.drain is None

    # --- lease -------------------------------------------------------------------------------

    def renew_lease(self, until: float, now: float) -> None:
        """Let calls start and live until then (monotonic seconds)."""
        self._lease_until = max(self._lease_until, until)
        self._is_cancelled = self._is_cancelled and now >= self._lease_until

    def has_lease(self, now: float) -> bool:
        """Return whether the coordinator has acknowledged this replica recently enough."""
        return now < self._lease_until

    def may_continue(self, now: float) -> bool:
        """Return whether a call that was started may send one more request."""
        return self.has_lease(now) and (self.drain is None or now < self.drain.deadline)

    def maybe_cancel(self, now: float) -> None:
        """Cancel what is in flight once the lease is lost or the drain is past its deadline."""
        if self._is_cancelled or not self._dispatcher.gate.in_flight:
            return
        if not self.may_continue(now):
            self._is_cancelled = True
            self._dispatcher.slots.cancel_requests()

    # --- drain -------------------------------------------------------------------------------

    @property
    def is_revoked(self) -> bool:
        """Whether a revocation drains: what was not sent is dropped."""
        return self.drain is not None and self.drain.kind is DrainKind.REVOCATION

    @property
    def is_shut_down(self) -> bool:
        """Whether a shutdown drains: windows need not wait for their time."""
        return self.drain is not None and self.drain.kind is DrainKind.SHUTDOWN

    def start_drain(self, drain: DrainStarted) -> None:
        """Begin to finish; a revocation under way goes first."""
        if drain.kind is DrainKind.SHUTDOWN:
            self._shutdown = drain
        if self.is_revoked:
            return
        self.drain = drain
        self._is_drained = False
        if drain.kind is DrainKind.REVOCATION:
            self._dispatcher.busy.only_in_flight = True
            self._dispatcher.drop_waiting()

    def maybe_finish(self, now: float) -> None:
        """End the drain when nothing is left to do, or when its time is over."""
        drain = self.drain
        if drain is None or self._is_drained:
            return
        if self._is_quiet(drain, now) or now >= drain.deadline + LAST_TRANSACTION_SECONDS:
            self._is_drained = True
            self._effects.append(Drained(self._outbox.ledger.pending_changes or self._left))

    def _is_quiet(self, drain: DrainStarted, now: float) -> bool:
        ledger = self._outbox.ledger
        if self._dispatcher.gate.in_flight or ledger.can_commit or ledger.is_committing:
            return False
        return self._dispatcher.is_idle or not self._waits_for_all(drain, now)

    def _waits_for_all(self, drain: DrainStarted, now: float) -> bool:
        """Return whether the drain also finishes what was not sent yet."""
        if drain.kind is DrainKind.REVOCATION or now >= drain.deadline:
            return False
        closed_until = self._dispatcher.gate.closed_until
        gate_opens = closed_until is None or closed_until < drain.deadline
        is_held_up = self._outbox.is_halted(now) or self._outbox.limit.is_reached
        return gate_opens and not self._dispatcher.lanes.breaker.is_open and not is_held_up

    def next_times(self) -> list[float]:
        """Return when time alone changes something (monotonic seconds)."""
        times = []
        if self._dispatcher.gate.in_flight and not self._is_cancelled:
            times.append(self._lease_until)
        if self.drain is not None and not self._is_drained:
            times += [self.drain.deadline, self.drain.deadline + LAST_TRANSACTION_SECONDS]
        return times
