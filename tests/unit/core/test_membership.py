"""What holds for the pipeline while it owns partitions, and when it gives them up."""

from service.core.effects import CancelCall, Commit, Drained, Effect
from service.core.inputs import (
    Arrived,
    Assigned,
    Committed,
    DrainKind,
    DrainStarted,
    Forgotten,
    Start,
    TimePassed,
)
from service.core.model import Origin, SourceRecord
from tests.support.builders import plain
from tests.support.clocked import PLACE, Clocked, applied, calls


def drained(effects: list[Effect]) -> bool:
    """Whether the drain is over."""
    return any(isinstance(effect, Drained) for effect in effects)


def test_a_call_in_flight_ends_with_the_lease() -> None:
    """It might land after a write of the next owner."""
    made = Clocked(lease_until=10.0)
    (call,) = made.arrive(2.0, 1)

    assert CancelCall(call.call_id) not in made.step(9.9, TimePassed())
    assert CancelCall(call.call_id) in made.step(10.0, TimePassed())


def test_a_drain_ends_after_its_last_transaction() -> None:
    """Before, nobody knows whether the next owner reads these outcomes or makes them again."""
    made = Clocked()
    (call,) = made.arrive(1.0, 1)
    assert not drained(made.step(2.0, DrainStarted(DrainKind.SHUTDOWN, 30.0)))
    effects = made.step(3.0, applied(call))
    (commit,) = (effect for effect in effects if isinstance(effect, Commit))
    assert not drained(effects)
    assert not drained(made.step(4.0, TimePassed()))

    assert drained(made.step(5.0, Committed(commit.number)))


def test_records_of_an_assignment_that_is_over_are_not_taken_in() -> None:
    """They were fetched for it, and are read again if their partition came back."""
    made = Clocked()
    made.step(1.0, Forgotten())
    made.step(2.0, Assigned(2, {PLACE: Start(0)}, 1))
    late, timely = (
        SourceRecord(Origin(PLACE, 0, epoch), None, plain(code=f"of-{epoch}").value)
        for epoch in (1, 2)
    )

    assert not calls(made.step(3.0, Arrived((late,))))
    (call,) = calls(made.step(4.0, Arrived((timely,))))
    assert "of-2" in str(call.request)
