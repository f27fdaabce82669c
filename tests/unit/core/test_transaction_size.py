"""A transaction that Kafka does not take in time is tried in smaller ones (transaction_size.py)."""

import pytest

from service.core.settle.transaction_size import QUICK_SECONDS, TransactionSize

KIB, MIB = 1024, 1024 * 1024
BYTES_MIN = 64 * KIB


def test_the_next_one_has_half_the_bytes_of_the_one_that_failed() -> None:
    """Not half of what was allowed: it may have been far smaller than that."""
    size = TransactionSize(8 * MIB, BYTES_MIN)
    size.not_in_time(2 * MIB)
    assert size.bytes_max == MIB
    size.not_in_time(MIB)
    assert size.bytes_max == MIB // 2


def test_some_bytes_are_always_allowed() -> None:
    """Whatever fails, work goes on."""
    size = TransactionSize(8 * MIB, BYTES_MIN)
    for _ in range(20):
        size.not_in_time(size.bytes_max)
    assert size.bytes_max == BYTES_MIN


@pytest.mark.parametrize(("seconds", "more"), [(QUICK_SECONDS, BYTES_MIN), (QUICK_SECONDS + 1, 0)])
def test_it_grows_slowly_while_kafka_is_quick(seconds: float, more: int) -> None:
    """At a quota one transaction passes quickly, and the next one is delayed for it."""
    size = TransactionSize(8 * MIB, BYTES_MIN)
    size.not_in_time(2 * MIB)
    size.committed(seconds)
    assert size.bytes_max == MIB + more


def test_a_small_one_changes_nothing() -> None:
    """It failed for another reason, such as a network that forgot an idle connection."""
    size = TransactionSize(8 * MIB, BYTES_MIN)
    size.not_in_time(BYTES_MIN)
    assert size.bytes_max == 8 * MIB


def test_it_never_grows_above_its_limit() -> None:
    size = TransactionSize(3 * BYTES_MIN, BYTES_MIN)
    size.not_in_time(BYTES_MIN + 1)
    for _ in range(5):
        size.committed(0.1)
    assert size.bytes_max == 3 * BYTES_MIN
    size.not_in_time(100 * BYTES_MIN)
    assert size.bytes_max == 3 * BYTES_MIN
