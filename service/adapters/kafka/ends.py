"""Ask the leaders of partitions where their logs begin and end, and measure lags by that.

aiokafka's own `beginning_offsets` and `end_offsets` answer for all partitions or for none: one
partition without a leader makes them fail after 40 s. `end_offsets` also asks for one isolation
level only, and the distance between the two ends is the number of offsets in open transactions.
Seams (docs/upgrading-aiokafka.md): `AIOKafkaConsumer._client`,
`AIOKafkaClient._maybe_wait_metadata`.

Rule: each leader is asked by itself, so that a partition whose leader does not answer holds up no
other. Such a partition is left out of the result.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.offset import OffsetRequest

from service.core.model import Partition

EARLIEST = -2
LATEST = -1
CONSUMER = -1
READ_UNCOMMITTED = 0
READ_COMMITTED = 1
LEADERS_SECONDS_MAX = 5.0
"""How long the leaders of partitions may take to answer, also while they are being elected."""
RETRY_SECONDS = 0.25
ENDS_SECONDS_MAX = 2.0
"""How long leaders may take to answer where partitions end, whenever lags are measured."""
FETCH_SECONDS_MAX = 5.0
"""How old the answer to a fetch may be from which the ends are taken."""
POSITION_SECONDS_MAX = 0.2
MEASURED_SECONDS_MAX = 30.0
"""How long after its last measurement a partition still counts as unread."""


class Ends(NamedTuple):
    """The ends of one partition."""

    stable: int
    """The last stable offset: records from this offset on cannot be read yet."""
    high: int
    """The high watermark; it is above `stable` while a transaction is open."""


class _Answers:
    """What the leaders have answered so far."""

    def __init__(self) -> None:
        self.offsets: dict[TopicPartition, int] = {}
        self.refusals: dict[TopicPartition, KafkaError] = {}
        self.failures: list[KafkaError] = []
        """Why leaders did not answer."""


async def ask_ends(
    consumer: AIOKafkaConsumer,
    topic_partitions: Collection[TopicPartition],
    seconds_max: float = LEADERS_SECONDS_MAX,
) -> dict[TopicPartition, Ends]:
    """Return the ends of the partitions, by two small requests to each leader.

    Raises:
        KafkaError: no leader can be reached.
        TimeoutError: no leader answers.
    """
    client = consumer._client  # noqa: SLF001 - the seam
    stable, high = _Answers(), _Answers()
    try:
        async with asyncio.timeout(seconds_max):
            await asyncio.gather(
                _ask(client, topic_partitions, LATEST, READ_COMMITTED, stable),
                _ask(client, topic_partitions, LATEST, READ_UNCOMMITTED, high),
            )
    except TimeoutError:
        if not stable.offsets:
            raise
    if not stable.offsets and stable.failures:
        raise stable.failures[0]
    return {
        topic_partition: Ends(at, max(at, high.offsets[topic_partition]))
        for topic_partition, at in stable.offsets.items()
        if topic_partition in high.offsets
    }


async def ask_offsets(
    consumer: AIOKafkaConsumer, topic_partitions: Collection[TopicPartition], at: int
) -> dict[TopicPartition, int]:
    """Return the `EARLIEST` or `LATEST` offsets that a committed reader finds.

    Leaders are asked again for up to `LEADERS_SECONDS_MAX`.

    Raises:
        KafkaError: a leader refuses to answer, and a retry is useless.
    """
    client = consumer._client  # noqa: SLF001 - the seam
    answers = _Answers()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEADERS_SECONDS_MAX):
            while missing := [one for one in topic_partitions if one not in answers.offsets]:
                await client._maybe_wait_metadata()  # noqa: SLF001 - the seam
                await _ask(client, missing, at, READ_COMMITTED, answers)
                for refusal in answers.refusals.values():
                    if not refusal.retriable:
                        raise refusal
                if len(answers.offsets) < len(topic_partitions):
                    client.force_metadata_update()
                    await asyncio.sleep(RETRY_SECONDS)
    return answers.offsets


class Starts(NamedTuple):
    """Where to read partitions on, where they end, and how many offsets they no longer have."""

    positions: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    missed: Mapping[TopicPartition, int]


async def find_starts(
    consumer: AIOKafkaConsumer,
    partitions: Collection[TopicPartition],
    known: Mapping[TopicPartition, int],
    wanted_ms: int,
) -> Starts | None:
    """Return where to read on: at the known position, or else at the first record that is wanted.

    Args:
        consumer: a connected consumer, which need not be assigned the partitions.
        partitions: the partitions.
        known: the positions that are known.
        wanted_ms: since when records are wanted (UTC, in milliseconds).

    Returns:
        None if a partition ends before its position.

    Raises:
        KafkaError: a leader refuses to answer, or has ceased to answer.
    """
    firsts = await ask_offsets(consumer, partitions, EARLIEST)
    ends = await ask_offsets(consumer, firsts.keys(), LATEST)
    wanted = {at: known[at] for at in ends.keys() & known.keys()}
    if any(position > ends[at] for at, position in wanted.items()):
        return None
    asked = dict.fromkeys(ends.keys() - known.keys(), wanted_ms)
    by_time = await consumer.offsets_for_times(asked) if asked else {}
    for at in asked:
        found = by_time.get(at)
        wanted[at] = ends[at] if found is None else found.offset
    positions = {at: max(position, firsts[at]) for at, position in wanted.items()}
    missed = {at: positions[at] - position for at, position in wanted.items()}
    return Starts(positions, ends, {at: count for at, count in missed.items() if count})


async def _ask(
    client: AIOKafkaClient,
    topic_partitions: Collection[TopicPartition],
    at: int,
    isolation: int,
    answers: _Answers,
) -> None:
    """Ask the known leaders once, and add each answer as soon as it is there."""
    by_node: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for topic_partition in topic_partitions:
        node = client.cluster.leader_for_partition(topic_partition)
        if node is None:
            client.add_topic(topic_partition.topic)
        elif node >= 0:
            by_node[node][topic_partition.topic].append((topic_partition.partition, at))
    requests = {
        node: OffsetRequest(CONSUMER, isolation, list(topics.items()))
        for node, topics in by_node.items()
    }
    await asyncio.gather(*(_ask_node(client, *request, answers) for request in requests.items()))


async def _ask_node(
    client: AIOKafkaClient, node: int, request: OffsetRequest, answers: _Answers
) -> None:
    try:
        response = await client.send(node, request)
    except KafkaError as error:
        if not error.retriable:
            raise
        answers.failures.append(error)
        return
    for topic, partitions in response.topics:
        for number, error_code, _, offset in partitions:
            topic_partition = TopicPartition(topic, number)
            if error_code:
                answers.refusals[topic_partition] = for_code(error_code)(topic_partition)
            else:
                answers.refusals.pop(topic_partition, None)
                answers.offsets[topic_partition] = offset


class _Unread(NamedTuple):
    """A partition that has records to read, by each measurement since some time (monotonic)."""

    position: int
    since: float
    measured_at: float


class Lags:
    """How far a consumer is behind the ends of its partitions."""

    def __init__(self) -> None:
        self.records: dict[Partition, int] = {}
        """Records to read, by the last measurement that succeeded."""
        self.behind_transactions: dict[Partition, int] = {}
        """Records that are not read yet because they are in open transactions."""
        self._unread: dict[Partition, _Unread] = {}

    async def measure(
        self, consumer: AIOKafkaConsumer, owned: frozenset[Partition], paused: frozenset[Partition]
    ) -> None:
        """Compare the positions of owned partitions with their ends."""
        self._forget_all_but(owned)
        unread = {one: self._unread[one] for one in self._unread.keys() - paused}
        for topic_partition, ends in (await _ends_of(consumer, owned, paused)).items():
            with contextlib.suppress(KafkaError, TimeoutError):  # between two assignments
                position = await asyncio.wait_for(
                    consumer.position(topic_partition), POSITION_SECONDS_MAX
                )
                partition = Partition(topic_partition.topic, topic_partition.partition)
                lag = self.records[partition] = max(0, ends.stable - position)
                self.behind_transactions[partition] = max(0, ends.high - max(ends.stable, position))
                known = unread.pop(partition, None)
                if lag and partition not in paused:
                    unread[partition] = _still_unread(known, position)
        self._unread = unread

    def unread_seconds(self) -> dict[Partition, float]:
        """Return for how long partitions have had records to read without any being read.

        A pause ends that time, and so does a leader that does not answer: its last answer does not
        tell whether its records can be read now.
        """
        now = time.monotonic()
        return {
            partition: now - known.since
            for partition, known in self._unread.items()
            if now - known.measured_at < MEASURED_SECONDS_MAX
        }

    def _forget_all_but(self, owned: frozenset[Partition]) -> None:
        for known in (self.records, self.behind_transactions, self._unread):
            for partition in known.keys() - owned:
                del known[partition]


def _still_unread(known: _Unread | None, position: int) -> _Unread:
    """Return since when nothing was read at this position."""
    now = time.monotonic()
    if known is None or known.position != position:
        return _Unread(position, now, now)
    is_recent = now - known.measured_at < MEASURED_SECONDS_MAX
    return _Unread(position, known.since if is_recent else now, now)


async def _ends_of(
    consumer: AIOKafkaConsumer, owned: frozenset[Partition], paused: frozenset[Partition]
) -> dict[TopicPartition, Ends]:
    """Return the ends of partitions, from the answers to fetches or by asking the leaders.

    Leaders are asked about partitions that are not fetched.
    """
    fetched = dict(_fetched_ends(consumer, owned - paused))
    asked = [
        TopicPartition(*partition)
        for partition in owned
        if TopicPartition(*partition) in consumer.assignment()
    ]
    if unknown := [one for one in asked if one not in fetched]:
        with contextlib.suppress(KafkaError, TimeoutError):  # then the last values are kept
            fetched |= await ask_ends(consumer, unknown, ENDS_SECONDS_MAX)
    return fetched


def _fetched_ends(
    consumer: AIOKafkaConsumer, partitions: frozenset[Partition]
) -> Iterator[tuple[TopicPartition, Ends]]:
    """Yield the ends that came with recent answers to fetches."""
    oldest_ms = (time.time() - FETCH_SECONDS_MAX) * 1000
    for partition in partitions:
        topic_partition = TopicPartition(*partition)
        if topic_partition not in consumer.assignment():
            continue
        stable = consumer.last_stable_offset(topic_partition)
        high = consumer.highwater(topic_partition)
        fetched_ms = consumer.last_poll_timestamp(topic_partition)
        if stable is not None and high is not None and (fetched_ms or 0) >= oldest_ms:
            yield topic_partition, Ends(stable, high)
