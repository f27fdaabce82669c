"""The ceiling on deletes: how many of a key an hour, whatever their times."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.delete_ceiling import HOUR_SECONDS, DeleteCeiling


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.floats(0, 2000), st.sampled_from("ab")), max_size=60),
)
def test_no_hour_has_more_deletes_of_a_key(most: int, steps: list[tuple[float, str]]) -> None:
    """And once there were more to come, nothing goes before a release."""
    ceiling, now = DeleteCeiling(most), 0.0
    went: list[tuple[float, str]] = []
    for seconds, key in steps:
        now += seconds
        recent = [at for at, whose in went if whose == key and at > now - HOUR_SECONDS]
        is_held = key in ceiling.reached
        if ceiling.admits(key, now):
            ceiling.count(key, now)
            went.append((now, key))
            assert len(recent) < most
            assert not is_held
        else:
            assert is_held or len(recent) == most
            assert key in ceiling.reached


def test_deletes_under_way_take_room_and_hold_nobody_for_good() -> None:
    """They may find their assets absent; then they do not count."""
    ceiling = DeleteCeiling(2)
    assert ceiling.admits("a", 0.0, under_way=1)
    assert not ceiling.admits("a", 0.0, under_way=2)
    assert ceiling.reached == ()
    assert ceiling.admits("a", 0.0)


def test_a_release_starts_again_at_zero() -> None:
    ceiling = DeleteCeiling(1)
    ceiling.count("a", 0.0)
    assert not ceiling.admits("a", 1.0)
    assert not ceiling.admits("a", 2 * HOUR_SECONDS), "no hour that passes is a person's look"
    ceiling.release()
    assert ceiling.reached == ()
    assert ceiling.admits("a", 2 * HOUR_SECONDS)


def test_without_a_ceiling_nothing_is_held_or_kept() -> None:
    ceiling = DeleteCeiling(0)
    for _ in range(5000):
        assert ceiling.admits("a", 0.0)
        ceiling.count("a", 0.0)
    assert not ceiling._deletes


def test_what_is_older_than_an_hour_takes_no_memory() -> None:
    ceiling = DeleteCeiling(10)
    for second in range(20_000):
        ceiling.count(f"family{second}", float(second))
    assert len(ceiling._deletes) == len(ceiling._counts) == HOUR_SECONDS
