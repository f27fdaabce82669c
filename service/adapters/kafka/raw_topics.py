"""Writes what the DAMs send to the raw topics, through one idempotent producer (kafka.md §2).

aiokafka sends what has gathered while its last request was on the way, so concurrent requests share
batches without waiting for each other.

Rule 1: a record is written when all in-sync replicas have it (`acks=all`). Whoever waited for
`WRITE_SECONDS_MAX` in vain is told so; in that time `send` may have to wait for metadata and for
room in a batch. aiokafka goes on trying, and until then the record counts as unsettled, which
bounds the memory of a broker outage.
Rule 2: after any error of a batch, the sequence numbers of an idempotent producer no longer match
those of the broker. So a new producer takes its place, and the old one ends what it still can.
Rule 3: a producer that settles nothing for `STUCK_SECONDS_MAX` is replaced too. While Kafka is
unreachable no successor starts, and the old one goes on.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from service.adapters.kafka.aiokafka_gaps.abandoning import abandon
from service.adapters.kafka.errors import describe, is_final
from service.adapters.kafka.options import RETRY_SECONDS, START_SECONDS_MAX, producing
from service.core.facts import Fact, KafkaReachable, KafkaUnreachable
from service.ports import FatalError
from service.settings import KafkaSettings, SettingsError
from service.webhooks.facts import ProducerReplaced, RecordNotWritten
from service.webhooks.record import IngressRecord

WRITE_SECONDS_MAX = 10.0
"""How long a request waits for its record to be acknowledged (docs/contract.md)."""
STUCK_SECONDS_MAX = 30.0
"""How long a producer may settle nothing although records wait."""
RETIRE_SECONDS_MAX = WRITE_SECONDS_MAX
"""How long a replaced producer may go on with what it has."""
BATCH_BYTES = 256 * 1024
"""Records of one partition that go together; a larger record goes alone."""
LOOK_SECONDS = 2.0
"""How often the broker is asked whether it can be reached."""
ANSWER_SECONDS_MAX = 5.0
"""How long a broker may take to answer a look, or to give a producer id."""
DEADLINE_SECONDS = 0.1
"""Records that are sent within this time share a deadline."""


class _NotOpenedError(Exception):
    """No producer could be opened now; a later attempt may succeed."""


@dataclass(eq=False)
class _Session:
    """One producer, and the records that it has not settled."""

    producer: AIOKafkaProducer
    open: int = 0
    """Records for which somebody waits."""
    unsettled: int = 0
    """Records for which nobody waits any more."""
    settled: int = 0
    """Records that were written, as a sign of life."""
    looked_at: tuple[float, int] = field(default_factory=lambda: (time.monotonic(), 0))
    """When a look last saw progress or nothing to do (monotonic), and `settled` at that time."""
    failure: str | None = None
    """Why this producer has to be replaced."""
    settling: "asyncio.Task[None] | None" = None
    """Counts what is unsettled, until nothing is."""
    is_closed: bool = False
    """Whether the producer settles nothing any more."""

    @property
    def is_settled(self) -> bool:
        return not self.open and not self.unsettled

    def look(self, now: float) -> bool:
        """Return whether this producer is stuck: it has settled nothing for long, but should."""
        went_on_at, settled = self.looked_at
        if self.is_settled or settled != self.settled:
            self.looked_at = (now, self.settled)
            return False
        return now - went_on_at > STUCK_SECONDS_MAX


class _Deadline:
    """A moment by which several tasks have to be done; it cancels those that are not."""

    def __init__(self) -> None:
        self.waiting: set[asyncio.Task[object]] = set()
        self._has_passed = False

    def passes(self) -> None:
        self._has_passed = True
        for task in self.waiting:
            task.cancel()

    def takes_back(self, task: asyncio.Task[object]) -> bool:
        """Take back the cancelling of a task; return whether nobody else has cancelled it."""
        if self._has_passed:
            task.uncancel()
        return not task.cancelling()


class _Deadlines:
    """Makes one deadline, and so one timer, for tasks that begin within a short time.

    A timer for each task would cost as much as the sending of its record.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._opened_at = float("-inf")
        self._current = _Deadline()

    def current(self) -> _Deadline:
        """Return the deadline that passes in `seconds`, or a moment later."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._opened_at > DEADLINE_SECONDS:
            self._opened_at = loop.time()
            self._current = _Deadline()
            loop.call_later(self._seconds + DEADLINE_SECONDS, self._current.passes)
        return self._current


class RawTopicsWriter:
    """The port `RawTopics` on Kafka."""

    def __init__(
        self,
        kafka: KafkaSettings,
        note: Callable[[Fact], None],
        write_seconds_max: float = WRITE_SECONDS_MAX,
    ) -> None:
        self._kafka = kafka
        self._note = note
        self._write_seconds_max = write_seconds_max
        self._deadlines = _Deadlines(write_seconds_max)
        self._session: _Session | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._wanted = asyncio.Event()
        """Set when the producer has to be replaced."""
        self.problem: str | None = None
        """Why Kafka cannot be reached, as of the last look."""

    @property
    def unsettled(self) -> int:
        return self._session.unsettled if self._session else 0

    async def start(self) -> None:
        """Connect and get a producer id.

        Raises:
            FatalError: the broker refuses the producer, or does not answer in time.
        """
        deadline = time.monotonic() + START_SECONDS_MAX
        while self._session is None:
            try:
                self._session = await self._open()
            except _NotOpenedError as failure:
                if time.monotonic() >= deadline:
                    raise FatalError(str(failure)) from None
                await asyncio.sleep(RETRY_SECONDS)

    async def stop(self) -> None:
        """Close; what was not acknowledged has been answered with 503 by now."""
        if self._session is not None:
            await _close(self._session)
        for retiring in self._retiring:
            retiring.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    async def write(self, record: IngressRecord) -> bool:
        session = self._session
        assert session is not None, "started"
        task = asyncio.current_task()
        assert task is not None
        deadline = self._deadlines.current()
        deadline.waiting.add(task)
        session.open += 1
        try:
            sent = await session.producer.send(
                record.topic, record.value, key=record.key, headers=list(record.headers)
            )
            await sent
        except KafkaTimeoutError:  # the batch was full all that time
            return self._late(record)
        except (KafkaError, OSError) as error:
            return self._failed(session, record, error)
        except asyncio.CancelledError:
            _count_unsettled(session)
            if not deadline.takes_back(task):
                raise
            return self._late(record)
        finally:
            session.open -= 1
            deadline.waiting.discard(task)
        session.settled += 1
        return True

    def _late(self, record: IngressRecord) -> bool:
        message = f"Kafka did not acknowledge the record in {self._write_seconds_max:g} s."
        self._note(RecordNotWritten(record.topic, message))
        return False

    def _failed(self, session: _Session, record: IngressRecord, error: Exception) -> bool:
        session.failure = describe(error, self._kafka)
        self._note(RecordNotWritten(record.topic, session.failure))
        self._wanted.set()
        return False

    async def keep_going(self) -> None:
        """Replace a producer that cannot go on, and watch whether Kafka answers; run for ever.

        Raises:
            FatalError: Kafka refuses every producer, which a person has to change.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), LOOK_SECONDS)
            self._wanted.clear()
            session = self._session
            assert session is not None, "started"
            if session.look(time.monotonic()):
                session.failure = f"Nothing was written for {STUCK_SECONDS_MAX:g} s."
            if session.failure is not None:
                await self._replace(session, session.failure)
            await self._look()

    async def _replace(self, old: _Session, why: str) -> None:
        try:
            self._session = await self._open()
        except _NotOpenedError as failure:
            self._note_unreachable(str(failure))
            await asyncio.sleep(RETRY_SECONDS)
            return
        self._note(ProducerReplaced(why))
        retiring = asyncio.create_task(_retire(old))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)
        await asyncio.sleep(RETRY_SECONDS)  # an error that comes back at once must not spin

    async def _look(self) -> None:
        """Ask for the metadata of the cluster, as a sign of life."""
        assert self._session is not None, "started"
        asking = self._session.producer.client.force_metadata_update()
        done, _ = await asyncio.wait({asking}, timeout=ANSWER_SECONDS_MAX)
        if done and not asking.cancelled() and asking.exception() is None and asking.result():
            self._note_reachable()
        else:
            self._note_unreachable("No broker answers.")

    def _note_reachable(self) -> None:
        if self.problem is not None:
            self.problem = None
            self._note(KafkaReachable(self._kafka.bootstrap_servers))

    def _note_unreachable(self, message: str) -> None:
        if self.problem is None:
            self._note(KafkaUnreachable(self._kafka.bootstrap_servers, message))
        self.problem = message

    async def _open(self) -> _Session:
        """Return a session with a started producer.

        Raises:
            _NotOpenedError: the broker did not answer, which may change.
            FatalError: the broker refuses the producer.
        """
        try:
            producer = AIOKafkaProducer(
                **producing(self._kafka),
                enable_idempotence=True,
                request_timeout_ms=round(self._write_seconds_max * 1000),
                max_batch_size=BATCH_BYTES,
            )
        except SettingsError as error:  # a certificate that is being replaced
            raise _NotOpenedError(str(error)) from error
        starting = asyncio.ensure_future(producer.start())
        await asyncio.wait({starting}, timeout=ANSWER_SECONDS_MAX)
        if not starting.done():
            starting.cancel()
            await abandon(producer)
            raise _NotOpenedError(
                f"Kafka at {self._kafka.bootstrap_servers} returned no producer id within "
                f"{ANSWER_SECONDS_MAX:g} s."
            )
        failure = starting.exception()
        if failure is not None:
            await abandon(producer)
            raise self._why_not_opened(failure) from failure
        return _Session(producer)

    def _why_not_opened(self, error: BaseException) -> Exception:
        if not isinstance(error, KafkaError | OSError):
            raise error
        text = describe(error, self._kafka)
        if is_final(error):
            return FatalError(text)
        return _NotOpenedError(text)


def _count_unsettled(session: _Session) -> None:
    """Count a record as unsettled until the producer has settled all that it has now."""
    session.unsettled += 1
    if session.settling is None and not session.is_closed:
        session.settling = asyncio.create_task(_settle(session))


async def _settle(session: _Session) -> None:
    """Wait until the producer has settled all its records, and count them."""
    try:
        while counted := session.unsettled:
            await session.producer.flush()
            session.unsettled -= counted
            session.settled += counted
    finally:
        session.settling = None


async def _retire(session: _Session) -> None:
    """Close a replaced producer as soon as nobody can wait for it any more."""
    try:
        await asyncio.sleep(RETIRE_SECONDS_MAX)
    finally:
        await _close(session)


async def _close(session: _Session) -> None:
    session.is_closed = True
    if session.settling is not None:
        session.settling.cancel()
    await abandon(session.producer)
