"""Reads the outcomes topic for the console, without a group: the index keeps the positions.

Rule 1: partitions are read side by side: one that is `AHEAD_MS` ahead of another in time waits for
it. So the index gets its outcomes about in the order of time, and drops the oldest first.
Rule 2: the topic's identity and its ends are asked for every `LOOK_SECONDS`. A topic that was
created again ends the reading; partitions that were added, or whose leaders did not answer, are
read once their leaders answer. They hold up no other partition.
Rule 3: while Kafka cannot be reached, or the topic does not exist, the reader waits and says so.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)

from service.adapters.kafka.aiokafka_gaps.fetching import FETCH_LIMITS, read_in_steps
from service.adapters.kafka.aiokafka_gaps.identity import identify_once
from service.adapters.kafka.ends import ask_ends, find_starts
from service.adapters.kafka.errors import describe, is_final
from service.adapters.kafka.options import REQUEST_TIMEOUT_MS, RETRY_SECONDS, connection
from service.console.entry import StoredOutcome
from service.console.facts import OutcomesMissed
from service.core.facts import Fact, KafkaReachable, KafkaUnreachable
from service.ports import FatalError, OutcomeBatch
from service.settings import KafkaSettings

POLL_MS = 500
POLL_RECORDS_MAX = 1_000
"""Records that are unpacked in one go."""
BATCH_RECORDS_MAX = 10_000
BATCH_BYTES_MAX = 8 * 1024 * 1024
"""Records and bytes of values that are returned together.

A transaction of the index writes each page that it changes once, and outcomes that come after each
other change pages all over it: one of 10,000 outcomes takes about half of the time of 20 with 500.
"""
MANY_RECORDS = 500
GATHER_SECONDS = 2.0
"""How long more are waited for once there are many: people do not miss them for that time."""
ISOLATION = "read_committed"
"""Outcomes of aborted transactions are not outcomes (contract.md §1, P1)."""
LOOK_SECONDS = 5.0
ANSWER_SECONDS_MAX = 5.0
ADD_SECONDS_MAX = 2.0
"""How long the leaders of added partitions may take at each look; nothing is read meanwhile."""
AHEAD_MS = 3_600_000


class OutcomesReader:
    """The port `OutcomeFeed` on Kafka."""

    def __init__(
        self,
        kafka: KafkaSettings,
        oldest_wanted_ms: Callable[[], int],
        note: Callable[[Fact], None],
    ) -> None:
        """Prepare the reader.

        Args:
            kafka: how to connect, and the topic.
            oldest_wanted_ms: returns since when outcomes are wanted (UTC, in milliseconds).
            note: where facts are noted.
        """
        self._kafka = kafka
        self._topic = kafka.outcomes_topic
        self._oldest_wanted_ms = oldest_wanted_ms
        self._note = note
        self._consumer: AIOKafkaConsumer | None = None
        self._identity = ""
        self._looked_at = float("-inf")
        self._ends: dict[TopicPartition, int] = {}
        self._positions: dict[TopicPartition, int] = {}
        """The next offset to read of each partition."""
        self._read_ms: dict[TopicPartition, int] = {}
        """The newest timestamp that was read of each partition that is not at its end."""
        self._begun_at: Mapping[int, int] = {}
        """The positions of the index when the reading began."""
        self._silent: set[TopicPartition] = set()
        """Partitions whose leaders did not answer at the last look."""
        self.problem: str | None = None
        """Why Kafka cannot be reached, or None."""

    async def start(self) -> None:
        """Connect to Kafka.

        Raises:
            FatalError: Kafka refuses the connection.
        """
        read_in_steps()
        consumer = AIOKafkaConsumer(
            **connection(self._kafka),
            **FETCH_LIMITS,
            isolation_level=ISOLATION,
            auto_offset_reset="none",
            enable_auto_commit=False,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            await consumer.start()
        except KafkaError as error:
            await consumer.stop()
            raise FatalError(describe(error, self._kafka)) from error
        self._consumer = consumer

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    @property
    def lag(self) -> int | None:
        """The offsets that are not read yet; None if Kafka does not tell them."""
        if self.problem is not None or self._consumer is None or not self._ends:
            return None
        return sum(max(0, end - self._positions.get(at, end)) for at, end in self._ends.items())

    async def identify(self) -> str:
        """Return the ids of cluster and topic with the topic's name."""
        while True:
            try:
                self._identity, partitions = await self._ask_identity()
            except (KafkaError, OSError) as error:
                self._say_unreachable(error)
            else:
                if partitions:
                    return self._identity
                self._say_unreachable(UnknownTopicOrPartitionError())
            await asyncio.sleep(RETRY_SECONDS)

    async def begin(self, positions: Mapping[int, int]) -> bool:
        """Assign every partition of the topic, and go to its position."""
        while True:
            try:
                return await self._begin(positions)
            except (KafkaError, OSError) as error:
                self._say_unreachable(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def read(self) -> OutcomeBatch | None:
        """Return what the next poll has; None if the topic was created again."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS and not await self._look():
            return None
        self._pace()
        try:
            records = await self._poll_batch()
        except OffsetOutOfRangeError as error:
            return await self._begin_within(error.args[0])
        except KafkaError as error:
            self._say_unreachable(error)
            await asyncio.sleep(RETRY_SECONDS)
            return OutcomeBatch((), {})
        return OutcomeBatch(tuple(records), await self._moved_positions())

    async def _moved_positions(self) -> Mapping[int, int]:
        """Return all positions, or none if none has moved.

        They move without a record too, over the ends of transactions and over records that were
        compacted away. If that were not kept, the next start would take these offsets for missed
        outcomes once the topic's retention has removed them.
        """
        consumer, before = self._opened, self._positions
        self._positions = {at: await consumer.position(at) for at in consumer.assignment()}
        moved = self._positions if self._positions != before else {}
        return {at.partition: position for at, position in moved.items()}

    async def _poll_batch(self) -> list[StoredOutcome]:
        """Return what a poll has, and what others have that need not wait, or not for long."""
        batch = await self._poll(POLL_MS)
        size = _size(batch)
        gathered_at = time.monotonic() + GATHER_SECONDS
        while batch and len(batch) < BATCH_RECORDS_MAX and size < BATCH_BYTES_MAX:
            waits = len(batch) >= MANY_RECORDS and time.monotonic() < gathered_at
            await asyncio.sleep(0)  # lets the process obey and report
            try:
                polled = await self._poll(POLL_MS if waits else 0)
            except KafkaError:  # the next poll meets it again, and nothing of this batch is lost
                break
            if not polled and not waits:
                break
            batch += polled
            size += _size(polled)
        return batch

    async def _poll(self, timeout_ms: int) -> list[StoredOutcome]:
        polled = await self._opened.getmany(timeout_ms=timeout_ms, max_records=POLL_RECORDS_MAX)
        for at, records in polled.items():
            if records:
                self._read_ms[at] = records[-1].timestamp
        return [
            StoredOutcome(record.partition, record.offset, record.timestamp, record.value)
            for records in polled.values()
            for record in records
        ]

    # --- where to read -----------------------------------------------------------------------

    @property
    def _opened(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "the reader is used before its start"
        return self._consumer

    async def _ask_identity(self) -> tuple[str, list[TopicPartition]]:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            found = await identify_once(self._opened, [self._topic])
        topic_id = found.topic_ids.get(self._topic, "")
        partitions = list(found.partitions.get(self._topic, ()))
        return f"{found.cluster_id}/{self._topic}/{topic_id}", partitions

    async def _begin(self, positions: Mapping[int, int]) -> bool:
        _, partitions = await self._ask_identity()
        self._begun_at = positions
        self._read_ms.clear()
        self._silent = set()
        self._ends, self._positions = {}, {}
        starts = await self._starts(partitions)
        if starts is None:
            return False
        if not starts:
            raise LeaderNotAvailableError
        self._assign(starts)
        return True

    def _assign(self, starts: Mapping[TopicPartition, int]) -> None:
        """Read these partitions too, each from its start.

        A partition is not assigned without a position, for which the consumer would wait without
        end.
        """
        self._positions |= starts
        self._opened.assign(list(self._positions))
        for at, position in self._positions.items():
            self._opened.seek(at, position)

    async def _starts(
        self,
        partitions: Collection[TopicPartition],
        lost: Mapping[TopicPartition, int] | None = None,
    ) -> Mapping[TopicPartition, int] | None:
        """Return where to read on, of the partitions whose leaders answer.

        Args:
            partitions: the partitions.
            lost: positions that the partitions no longer have; without it, those of the index.

        Returns:
            None if a partition ends before its position.
        """
        known = lost or {
            at: self._begun_at[at.partition] for at in partitions if at.partition in self._begun_at
        }
        wanted_ms = max(0, self._oldest_wanted_ms())
        found = await find_starts(self._opened, partitions, known, wanted_ms)
        if found is None:
            return None
        for at, offsets in found.missed.items():
            self._note(OutcomesMissed(at.partition, offsets))
        self._ends |= found.ends
        return found.positions

    async def _begin_within(self, lost: Mapping[TopicPartition, int]) -> OutcomeBatch | None:
        """Go on where the topic begins or ends now; None if it was created again."""
        try:
            starts = await self._starts(lost.keys(), lost)
        except (KafkaError, OSError) as error:
            self._say_unreachable(error)
            return OutcomeBatch((), {})
        if starts is None:
            return None
        for at, start in starts.items():
            self._opened.seek(at, start)
            self._positions[at] = start
        return OutcomeBatch((), {})

    # --- looking -----------------------------------------------------------------------------

    async def _look(self) -> bool:
        """Ask for the identity and the ends; return whether the topic is still the same."""
        self._looked_at = time.monotonic()
        try:
            identity, partitions = await self._ask_identity()
            if not partitions:  # it may be created again
                raise UnknownTopicOrPartitionError
            if identity != self._identity:
                return False
            if not await self._add(partitions):
                return False
            found = await ask_ends(self._opened, partitions)
        except (KafkaError, OSError) as error:
            self._say_unreachable(error)
            return True
        self._silent = set(partitions) - found.keys()
        self._ends |= {at: ends.stable for at, ends in found.items()}
        self._say_reachable()
        return True

    async def _add(self, partitions: list[TopicPartition]) -> bool:
        """Assign partitions that were added, or that had no leader before; False if one is another.

        Such a partition may not have a leader yet: then the next look tries it again.
        """
        added = set(partitions) - self._opened.assignment()
        if not added:
            return True
        try:
            async with asyncio.timeout(ADD_SECONDS_MAX):
                starts = await self._starts(added)
        except TimeoutError:
            return True
        if starts:
            self._assign(starts)
        return starts is not None

    def _pace(self) -> None:
        """Pause the partitions that are too far ahead of the slowest one that can be read."""
        consumer = self._opened
        known = self._ends.items()
        unread = {at for at, end in known if self._positions.get(at, end) < end} - self._silent
        times = {at: self._read_ms.get(at, 0) for at in unread}
        slowest = min(times.values(), default=0)
        ahead = {at for at, read_ms in times.items() if read_ms > slowest + AHEAD_MS and slowest}
        paused = consumer.paused()
        consumer.pause(*ahead - paused)
        consumer.resume(*paused - ahead)

    def _say_unreachable(self, error: Exception) -> None:
        """Note why Kafka cannot be reached, once.

        Raises:
            FatalError: Kafka refuses the connection, so that waiting does not help.
        """
        text = describe(error, self._kafka)
        if is_final(error):
            raise FatalError(text) from error
        if self.problem is None:
            self._note(KafkaUnreachable(self._kafka.bootstrap_servers, text))
        self.problem = text

    def _say_reachable(self) -> None:
        if self.problem is not None:
            self.problem = None
            self._note(KafkaReachable(self._kafka.bootstrap_servers))


def _size(records: Iterable[StoredOutcome]) -> int:
    """Return the bytes of the values."""
    return sum(len(record.value or b"") for record in records)
