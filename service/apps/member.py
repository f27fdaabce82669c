"""A member of a consumer group: a state machine between its consumer and its transactional log.

`run` has one; `translate` has one for each source.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from service.adapters.clock import SystemClock
from service.adapters.kafka.consumer import Consumer
from service.adapters.kafka.errors import describe
from service.adapters.kafka.subscription import Subscription
from service.adapters.kafka.transaction import TransactionLog
from service.apps.watch import Watch
from service.closing import close_within
from service.core.inputs import DrainKind
from service.core.limits import DELAY_SECONDS_MAX
from service.ports import FatalError, Observers
from service.process.exit_codes import ExitCode
from service.process.shutdown import Shutdown, report_end
from service.runtime.inbox import RunnerInbox
from service.runtime.machine import Machine, Requests
from service.runtime.runner import Runner

if TYPE_CHECKING:
    from service.adapters.telemetry.traces import Traces

CLOSE_SECONDS_MAX = 4.0
"""How long the consumer may take to close, and then the producer."""

QUIET_MARGIN_SECONDS = 3 * DELAY_SECONDS_MAX
"""How long nothing may happen to what is pending, beyond the time that its requests may take."""

OwnInput = TypeVar("OwnInput")
OwnEffect = TypeVar("OwnEffect")


class Member(Generic[OwnInput, OwnEffect]):
    """The parts of one membership, wired when it is made, and how they start and close."""

    def __init__(
        self,
        subscription: Subscription,
        machine: Machine[OwnInput, OwnEffect],
        requests: Callable[[RunnerInbox[OwnInput]], Requests[OwnEffect]],
        observers: Observers,
        shutdown: Shutdown,
        *,
        changes_topic: str = "",
        traces: "Traces | None" = None,
    ) -> None:
        """Wire the parts.

        Args:
            subscription: the group and what it reads.
            machine: decides what is done.
            requests: makes the requests of the machine, which report to its inbox.
            observers: receive what happens.
            shutdown: begins if a part fails.
            changes_topic: where the changes of a translation are written to.
            traces: adds spans to records and transactions.
        """
        self._subscription = subscription
        self._shutdown = shutdown
        clock = SystemClock()
        self.log = TransactionLog(subscription.kafka, observers.note, changes_topic)
        self._inbox = inbox = RunnerInbox[OwnInput](clock)
        self.consumer = Consumer(
            subscription,
            self.log,
            traces.around_inbox(inbox, observers) if traces else inbox,
            observers.note,
            shutdown.fail,
        )
        self.runner = Runner[OwnInput, OwnEffect](
            machine,
            inbox,
            requests=requests(inbox),
            log=traces.around_log(self.log) if traces else self.log,
            intake=self.consumer,
            observer=observers,
            clock=clock,
        )
        self._running: asyncio.Task[None] | None = None
        self._others: tuple[asyncio.Task[None], ...] = ()

    def begin(self, watch: Watch) -> None:
        """Run the machine, watch it, and join the group; an error of a task begins the shutdown."""
        self._running = asyncio.create_task(self.runner.run())
        self._others = asyncio.create_task(watch.run()), asyncio.create_task(self._join_group())
        for task in (self._running, *self._others):
            self._shutdown.fail_with(task)

    async def drain(self) -> int | None:
        """Finish what is open, for `DRAIN__MAX_SECONDS` at most or until the runner fails.

        Return how many changes are left to the next owner; None if the runner failed.
        """
        running = self._running
        assert running is not None, "begun"
        self.consumer.assignment.leave()
        seconds = self._subscription.drain_seconds
        draining = asyncio.create_task(self._inbox.drain(DrainKind.SHUTDOWN, seconds))
        await asyncio.wait((draining, running), return_when=asyncio.FIRST_COMPLETED)
        if draining.done():
            return draining.result()
        draining.cancel()
        try:
            running.result()
        except FatalError as error:
            report_end(error)
        return None

    async def close(self) -> None:
        """Leave the group and close every part."""
        for task in self._others:
            task.cancel()
        await close_within(CLOSE_SECONDS_MAX, self.consumer.close())
        await close_within(CLOSE_SECONDS_MAX, self.log.stop())
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await self._running

    async def _join_group(self) -> None:
        try:
            await self.consumer.open()
        except Exception as error:
            why = describe(error, self._subscription.kafka)
            raise FatalError(f"The group could not be joined: {why}") from error


async def work(members: Sequence[Member[OwnInput, OwnEffect]], shutdown: Shutdown) -> ExitCode:
    """Let members that have begun work until the shutdown begins, then drain them.

    Return the exit code of the program.
    """
    log = structlog.get_logger()
    try:
        await shutdown.begun()
    except FatalError as error:
        report_end(error)
        return ExitCode.FAILED
    except Exception:
        # Before closing, which may hang and then ends the process without a traceback.
        log.exception("service.bug", message="A bug in asset-sync. Please report it.")
        raise
    left = await asyncio.gather(*(member.drain() for member in members))
    if None not in left:
        log.info("service.drained", left_to_the_next_owner=sum(one or 0 for one in left))
    # What is not committed waits for the next owner. Only a commit whose fate is unknown is a
    # failure (contract.md §1, P7).
    if any(member.log.is_commit_unresolved for member in members):
        log.error("commit.in_doubt", message="Kafka did not answer the last commit.")
        return ExitCode.FAILED
    return ExitCode.DRAINED
