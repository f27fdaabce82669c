"""The ends of partitions, with and without records in open transactions, on a real broker."""

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from service.adapters.kafka.ends import Ends, ask_ends
from tests.support.service import SystemUnderTest

pytestmark = pytest.mark.kafka


async def test_both_ends_of_partitions(system: SystemUnderTest) -> None:
    """A record after the begin of an open transaction is above the stable end."""
    topic_partitions = [TopicPartition(system.events, number) for number in range(2)]
    consumer = AIOKafkaConsumer(bootstrap_servers=system.bootstrap)
    await consumer.start()
    consumer.assign(topic_partitions)
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap, transactional_id=system.suffix)
    await producer.start()
    await producer.begin_transaction()
    for _ in range(3):
        await producer.send_and_wait(system.events, b"{}", partition=0)
    await system.publish([(0, None, b"{}"), (1, None, b"{}")])

    nowhere = TopicPartition("no-such-topic", 0)
    found = await ask_ends(consumer, [*topic_partitions, nowhere])
    assert found == {topic_partitions[0]: Ends(0, 4), topic_partitions[1]: Ends(1, 1)}

    await producer.commit_transaction()
    while (await ask_ends(consumer, topic_partitions))[topic_partitions[0]] != Ends(5, 5):
        pass  # its marker is written a moment later; each round asks the broker
    await producer.stop()
    await consumer.stop()
