"""The limit on requests a second."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.send.rate import Rate


def test_a_second_after_a_request_the_next_is_allowed() -> None:
    rate = Rate(2)
    rate.count(10.0)
    assert rate.next_time(10.5) is None, "there is room for one more"
    rate.count(10.5)
    assert not rate.allows(10.9)
    assert rate.next_time(10.9) == 11.0
    assert rate.allows(11.0)


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
        if (allowed_at := rate.next_time(now)) is not None:
            now = allowed_at
        assert rate.allows(now)
        rate.count(now)
        sent.append(now)
    for first, beyond in zip(sent, sent[requests_max:], strict=False):
        assert beyond >= first + 1.0
