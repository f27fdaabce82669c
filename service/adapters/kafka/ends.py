"""Ask the brokers for the ends of partitions, which a paused consumer does not learn.

aiokafka reads the ends from the answers to its fetches, and a paused partition is not fetched. Its
`end_offsets` asks for one isolation level only, and the distance between the two ends is the number
of offsets in open transactions. Seam: `AIOKafkaConsumer._client` (docs/upgrading-aiokafka.md).
"""

from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.protocol.offset import OffsetRequest

LATEST = -1
CONSUMER = -1
READ_UNCOMMITTED = 0
READ_COMMITTED = 1


class Ends(NamedTuple):
    """The ends of one partition."""

    stable: int
    """The last stable offset: records from this offset on cannot be read yet."""
    high: int
    """The high watermark; it is above `stable` while a transaction is open."""


async def ask_ends(
    consumer: AIOKafkaConsumer, topic_partitions: Collection[TopicPartition]
) -> dict[TopicPartition, Ends]:
    """Return the ends of the partitions, by two small requests to each leader.

    A partition is left out if it has no known leader or its broker refuses to answer.

    Raises:
        KafkaError: a broker cannot be reached.
    """
    stable = await _ask(consumer, topic_partitions, READ_COMMITTED)
    high = await _ask(consumer, topic_partitions, READ_UNCOMMITTED)
    return {
        topic_partition: Ends(at, max(at, high[topic_partition]))
        for topic_partition, at in stable.items()
        if topic_partition in high
    }


async def _ask(
    consumer: AIOKafkaConsumer, topic_partitions: Collection[TopicPartition], isolation: int
) -> dict[TopicPartition, int]:
    client = consumer._client  # noqa: SLF001 - the seam
    by_node: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for topic_partition in topic_partitions:
        node = client.cluster.leader_for_partition(topic_partition)
        if node is not None and node >= 0:
            by_node[node][topic_partition.topic].append((topic_partition.partition, LATEST))
    found: dict[TopicPartition, int] = {}
    for node, topics in by_node.items():
        request = OffsetRequest(CONSUMER, isolation, list(topics.items()))
        response = await client.send(node, request)
        for topic, partitions in response.topics:
            for number, error_code, _, offset in partitions:
                if error_code == 0:
                    found[TopicPartition(topic, number)] = offset
    return found
