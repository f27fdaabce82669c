"""The partition of a record is the one of Kafka's default partitioner."""

from aiokafka import TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.kafka.batches import _partition_for


@given(st.binary(max_size=80), st.integers(1, 50))
def test_a_key_gets_the_partition_of_kafkas_default(key: bytes, partitions: int) -> None:
    """Readers of one asset's outcomes rely on it, and so does every other producer."""
    numbers = list(range(partitions))
    topic_partitions = [TopicPartition("outcomes", number) for number in numbers]
    assert _partition_for(key, topic_partitions).partition == DefaultPartitioner()(
        key, numbers, numbers
    )


def test_records_without_key_are_spread_over_all_partitions() -> None:
    topic_partitions = [TopicPartition("outcomes", number) for number in range(3)]
    assert {_partition_for(None, topic_partitions) for _ in range(100)} == set(topic_partitions)
