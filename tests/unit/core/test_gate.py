"""The gate: slots, rate, shares, and closing on 429 (D6)."""

import pytest

from service.core.limits import DELAY_SECONDS_MAX, RETRY_AFTER_SECONDS_MAX
from service.core.recover.backoff import delay
from service.core.send.gate import Gate


def gate(at_once: int = 4, per_second: int = 50, owned: int = 1, total: int = 1) -> Gate:
    """A gate with its share, and no chance in its delays."""
    made = Gate(at_once, per_second, lambda: 0.5)
    made.share(owned, total)
    return made


@pytest.mark.parametrize(
    ("limit", "owned", "total", "share"),
    [(4, 6, 6, 4), (4, 3, 6, 2), (4, 1, 6, 1), (4, 5, 6, 3), (4, 0, 6, 0), (50, 2, 6, 16)],
)
def test_the_share_is_by_partitions(limit: int, owned: int, total: int, share: int) -> None:
    """The floor of limit * owned / total, at least 1 where any is owned, 0 where none."""
    assert gate(at_once=limit, owned=owned, total=total).cap == share


@pytest.mark.parametrize("replicas", range(1, 5))
def test_the_shares_keep_the_deployments_limit(replicas: int) -> None:
    """P8: up to MAX_CONCURRENCY replicas, whatever they own."""
    for total in range(replicas, 13):
        owned = [total // replicas + (index < total % replicas) for index in range(replicas)]
        assert sum(gate(at_once=4, owned=part, total=total).cap for part in owned) <= 4


def test_a_slot_is_held_from_start_to_end() -> None:
    """No more calls at once than the share."""
    made = gate(at_once=2)
    made.start(1, 0.0, repair=False)
    made.start(2, 0.0, repair=False)
    assert not made.may_start(0.0)
    made.end(1)
    assert made.may_start(0.0)


def test_every_request_takes_from_the_rate() -> None:
    """Also the second one of a call; a second later there is room again."""
    made = gate(per_second=3)
    made.start(1, 10.0, repair=False)
    made.send(10.1)
    made.send(10.2)
    assert not made.may_start(10.9)
    assert made.next_time(10.9) == 11.0
    assert made.may_start(11.0)


@pytest.mark.parametrize("sent_at", [0.17, 1.17, 1.47, 1.67, 1.97])
def test_the_time_that_it_names_is_not_too_early(sent_at: float) -> None:
    """In floats, `sent_at + 1.0 - sent_at` is less than 1.0, and nobody would look again."""
    made = gate(per_second=1)
    made.start(1, sent_at, repair=False)
    made.end(1)
    named = made.next_time(sent_at + 0.5)
    assert named is not None
    assert made.may_start(named)


def test_repair_holds_at_most_half() -> None:
    """At least one, so that a share of one can be mended too."""
    for cap, most in ((1, 1), (2, 1), (4, 2), (5, 2)):
        made = gate(at_once=cap)
        held = 0
        while made.may_repair and made.may_start(0.0):
            held += 1
            made.start(held, 0.0, repair=True)
        assert held == most


def test_a_429_closes_for_everybody_until_its_time() -> None:
    """Then one call tries; its answer opens the gate."""
    made = gate()
    made.start(1, 0.0, repair=False)
    assert made.throttle(1, 0.0, 7.0)
    made.end(1)
    assert not made.may_start(6.9)
    assert made.next_time(1.0) == 7.0

    made.start(2, 7.0, repair=False)
    assert not made.may_start(7.0), "one call tries"
    assert made.answered(2)
    made.end(2)
    assert made.may_start(7.1)


def test_a_trial_that_was_cut_is_given_out_again() -> None:
    """Without an answer nobody knows more than before."""
    made = gate()
    made.throttle(1, 0.0, 1.0)
    made.start(2, 1.0, repair=False)
    made.end(2)
    assert made.is_closed
    assert made.may_start(1.0)


@pytest.mark.parametrize("retry_after", [None, 0.0])
def test_without_retry_after_the_delay_doubles(retry_after: float | None) -> None:
    """0.5 s, 1 s, 2 s … of which the jitter takes half here; a date may have passed already."""
    made = gate()
    waits = []
    now = 0.0
    for call in range(4):
        if made.is_closed:
            made.start(call, now, repair=False)
        made.throttle(call, now, retry_after)
        made.end(call)
        waits.append((made.closed_until or now) - now)
        now = made.closed_until or now
    assert waits == [0.25, 0.5, 1.0, 2.0]


def test_retry_after_is_capped() -> None:
    """300 s, whatever a proxy asks for."""
    made = gate()
    made.throttle(1, 0.0, 86_400.0)
    assert made.closed_until == RETRY_AFTER_SECONDS_MAX


def test_calls_in_flight_when_it_closed_do_not_open_it() -> None:
    """Their answers are of before."""
    made = gate()
    made.start(1, 0.0, repair=False)
    made.start(2, 0.0, repair=False)
    made.throttle(1, 0.1, 5.0)
    assert not made.answered(2)
    assert made.is_closed


def test_delays_grow_to_their_limit_with_full_jitter() -> None:
    """Never above 30 s, anything down to nothing."""
    assert [delay(failures, lambda: 1.0) for failures in (1, 2, 3, 7, 99)] == [
        0.5, 1.0, 2.0, DELAY_SECONDS_MAX, DELAY_SECONDS_MAX,
    ]  # fmt: skip
    assert delay(5, lambda: 0.0) == 0.0


@pytest.mark.parametrize(("slots", "uploads"), [(1, 1), (2, 1), (4, 2), (5, 2)])
def test_uploads_take_at_most_half_of_the_slots(slots: int, uploads: int) -> None:
    """At least one; repairs have a half of their own."""
    made = gate(at_once=slots)
    for number in range(uploads):
        assert made.may_upload
        made.start(number, 0.0, repair=False, upload=True)
    assert not made.may_upload
    assert made.may_repair
    made.end(0)
    assert made.may_upload
