"""Ask the leaders of partitions where their logs begin and end.

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
from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.offset import OffsetRequest

EARLIEST = -2
LATEST = -1
CONSUMER = -1
READ_UNCOMMITTED = 0
READ_COMMITTED = 1
LEADERS_SECONDS_MAX = 5.0
"""How long the leaders of partitions may take to answer, also while they are being elected."""
RETRY_SECONDS = 0.25


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
