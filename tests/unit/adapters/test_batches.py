"""Where a record goes: Kafka's default, as the library has it."""

from aiokafka import TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.kafka.batches import _place_of


@given(st.binary(max_size=80), st.integers(1, 50))
def test_a_key_goes_where_kafkas_default_has_it(key: bytes, partitions: int) -> None:
    """Readers of one asset's outcomes rely on it, and so does every other producer."""
    numbers = list(range(partitions))
    places = [TopicPartition("outcomes", number) for number in numbers]
    assert _place_of(key, places).partition == DefaultPartitioner()(key, numbers, numbers)


def test_no_key_goes_anywhere() -> None:
    """Spread by chance."""
    places = [TopicPartition("outcomes", number) for number in range(3)]
    assert {_place_of(None, places) for _ in range(100)} == set(places)
