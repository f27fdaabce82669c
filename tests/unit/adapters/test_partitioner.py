"""The partition of a record is the one of Kafka's default partitioner."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import example, given
from hypothesis import strategies as st

from service.adapters.kafka.partitioner import partitions_of


@given(st.lists(st.binary(max_size=80), max_size=40), st.integers(1, 50))
@example([b""], 3)
@example([b"\xff" * length for length in range(20)] * 2, 50)
@example([b"\x00" * length for length in range(20)], 50)
@example([b"\xff" * 5_000, b"\xff" * 4_999], 7)
def test_each_key_gets_the_partition_of_kafkas_default(keys: list[bytes], partitions: int) -> None:
    """Readers of one asset's outcomes rely on it, and so does every other producer."""
    kafkas, numbers = DefaultPartitioner(), list(range(partitions))
    expected = [kafkas(key, numbers, numbers) for key in keys]
    assert partitions_of(keys, partitions) == expected


def test_records_without_key_are_spread_over_all_partitions() -> None:
    found = partitions_of([None, b"key"] * 100, 3)
    assert set(found[::2]) == {0, 1, 2}
    assert len(set(found[1::2])) == 1, "they do not disturb those with a key"
