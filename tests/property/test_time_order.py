"""Records of several partitions, put in the order of time while they are read."""

from collections import deque
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from service.adapters.kafka.tools.time_order import AHEAD_RECORDS_MAX, StoredRecord, TimeOrder

PARTITIONS = 3


def record(partition: int, offset: int, timestamp_ms: int) -> StoredRecord:
    """Return a record that is known by its position alone."""
    return StoredRecord(partition, offset, None, None, (), timestamp_ms)


partitions = st.lists(
    st.lists(st.integers(0, 20), max_size=8), min_size=PARTITIONS, max_size=PARTITIONS
)


@settings(deadline=None)
@given(partitions, st.randoms(use_true_random=False), st.booleans())
def test_the_order_does_not_depend_on_when_records_are_read(
    times: list[list[int]],
    random: Random,
    are_sorted: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    """Nothing is lost; partitions keep their order; where they are in order, so is the whole."""
    logs = [
        [record(n, at, ms) for at, ms in enumerate(sorted(log) if are_sorted else log)]
        for n, log in enumerate(times)
    ]
    order = TimeOrder(range(PARTITIONS))
    unread = {number: deque(log) for number, log in enumerate(logs)}
    taken: list[StoredRecord] = []
    while not order.is_complete:
        for number in [number for number, log in unread.items() if not log]:
            order.end(number)
            del unread[number]
        if unread:
            order.add(unread[random.choice(sorted(unread))].popleft())
        taken += order.take()

    assert sorted(taken) == sorted(one for log in logs for one in log)
    for number, log in enumerate(logs):
        assert [one for one in taken if one.partition == number] == log
    if are_sorted:
        assert [one.timestamp_ms for one in taken] == sorted(ms for log in times for ms in log)


def test_a_partition_that_is_ahead_waits() -> None:
    """The records of one partition do not fill the memory while another one is still to come."""
    order = TimeOrder([0, 1])
    for offset in range(AHEAD_RECORDS_MAX):
        assert not order.is_ahead(0)
        order.add(record(0, offset, 5))
    assert order.is_ahead(0)
    assert list(order.take()) == []
    order.add(record(1, 0, 7))
    assert len(list(order.take())) == AHEAD_RECORDS_MAX, "all of them are older than the other's"
    assert not order.is_ahead(0)


def test_a_topic_without_partitions_is_complete() -> None:
    """Nothing is waited for."""
    assert TimeOrder([]).is_complete
