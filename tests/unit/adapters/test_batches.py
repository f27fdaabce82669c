"""Where a record goes: Kafka's default, as the library has it."""

from aiokafka import TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.kafka.batches import _partition_for


@given(st.binary(max_size=80), st.integers(1, 50))
def test_a_key_goes_where_kafkas_default_has_it(key: bytes, partitions: int) -> None:
    """Readers of one asset's outcomes rely on it, and so does every other producer."""
    numbers = list(range(partitions))
    topic_partitions = [TopicPartition("outcomes", number) for number in numbers]
    assert _partition_for(key, topic_partitions).partition == DefaultPartitioner()(
        key, numbers, numbers
    )


def test_no_key_goes_anywhere() -> None:
    """Spread by chance."""
    topic_partitions = [TopicPartition("outcomes", number) for number in range(3)]
    assert {_partition_for(None, topic_partitions) for _ in range(100)} == set(topic_partitions)
