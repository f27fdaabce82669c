"""The limit on requests a second."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.rate import Rate


def test_a_second_after_a_request_the_next_is_allowed() -> None:
    rate = Rate(1)
    rate.count(10.0)
    assert not rate.allows(10.9)
    assert rate.next_time(10.9) == 11.0
    assert rate.allows(11.0)


def test_half_of_the_requests_may_be_sent_at_once() -> None:
    rate = Rate(4)
    rate.count(10.0)
    assert rate.allows(10.0)
    rate.count(10.0)
    assert not rate.allows(10.0)


def test_the_other_half_is_spread_over_the_rest_of_the_second() -> None:
    """Two are left: after a third of the second, and after two thirds."""
    rate = Rate(4)
    rate.count(10.0)
    rate.count(10.4)
    assert rate.next_time(10.4) == pytest.approx(10.6)
    rate.count(10.6)
    assert rate.next_time(10.6) == pytest.approx(10.8)
    rate.count(10.8)
    assert rate.next_time(10.8) == 11.0


@pytest.mark.parametrize("call_seconds", [0.02, 0.055])
def test_under_load_no_part_of_a_second_is_without_requests(call_seconds: float) -> None:
    """Four calls at once would send the 50 requests of a second in its first part."""
    rate, ends, starts, now = Rate(50), [0.0] * 4, [0.0], 0.0
    while now < 20.0:
        now = max(now, ends[0])
        now = rate.next_time(now) or now
        rate.count(now)
        starts.append(now)
        ends = sorted([*ends[1:], now + call_seconds])
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]

    assert len(starts) / now == pytest.approx(50, rel=0.05)
    assert max(pauses) < 0.1


def test_without_any_share_time_changes_nothing() -> None:
    assert not Rate(0).allows(10.0)
    assert Rate(0).next_time(10.0) is None


@given(
    st.floats(0, 1e9),
    st.lists(st.floats(0, 0.4), max_size=30),
    st.integers(1, 5),
)
def test_what_waits_for_the_next_time_is_allowed_then(
    now: float, steps: list[float], requests_max: int
) -> None:
    """Also where a float rounds: `now - sent` may be less than 1 at `sent + 1`."""
    rate = Rate(requests_max)
    sent: list[float] = []
    for step in steps:
        now += step
        while (allowed_at := rate.next_time(now)) is not None:
            assert allowed_at > now
            now = allowed_at
        assert rate.allows(now)
        rate.count(now)
        sent.append(now)
    for first, beyond in zip(sent, sent[requests_max:], strict=False):
        assert beyond >= first + 1.0
