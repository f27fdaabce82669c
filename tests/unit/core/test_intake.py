"""Intake pauses at its limits and resumes at half of them; turns, the rate, and a shutdown."""

from dataclasses import replace

from service.core.effects import AllowRequest
from service.core.facts import IntakeResumed
from service.core.inputs import DrainKind, DrainStarted, RequestWanted, TimePassed
from service.core.requests import DeleteOne
from tests.support.clocked import LIMITS, Clocked, calls
from tests.support.drive import POLL_RECORDS_MAX, Drive, family_of

CHANGES = 3_000


def slow(**limits: int) -> Drive:
    """A replica whose PIM takes a second for a call."""
    return Drive(call_seconds=1.0, limits=dict(limits))


def test_intake_pauses_by_changes_and_resumes_at_half() -> None:
    """A poll may exceed the limit; afterwards half of the limit has to be free."""
    drive = slow(pending_changes_max=600)
    for number in range(CHANGES):
        drive.upsert("packshots", f"a{number}")
    drive.run()

    assert 600 <= drive.pending_max < 600 + POLL_RECORDS_MAX
    resumed = [fact for _, fact in drive.facts if isinstance(fact, IntakeResumed)]
    assert len(resumed) > 2
    assert all(fact.pending < 300 for fact in resumed)


def test_intake_pauses_by_bytes() -> None:
    """Long texts fill the limit with fewer changes."""
    drive = slow(pending_bytes_max=300_000)
    for number in range(CHANGES):
        drive.upsert("packshots", f"a{number}", text="x" * 1_000)
    drive.run()

    assert drive.pending_max < 300 + POLL_RECORDS_MAX


def test_upserts_and_deletes_take_turns() -> None:
    """Many families with upserts delay a delete by one call at a time."""
    drive = Drive(limits={"calls_at_once_max": 1})
    for number in range(20):
        drive.upsert(f"family{number}", "new")
        drive.delete(f"family{number}", "old")
    drive.run()

    first = drive.writes[:10]
    deletes = [isinstance(sent.request, DeleteOne) for sent in first]
    assert deletes.count(True) == 5
    assert len({family_of(sent.request) for sent in first}) >= 5


def test_a_shutdown_sends_what_waits_in_windows() -> None:
    """It does not wait for their time."""
    made = Clocked(replace(LIMITS, window_seconds_max=1000.0))
    assert not made.arrive(1.0, 1)

    (sent,) = calls(made.step(2.0, DrainStarted(DrainKind.SHUTDOWN, 30.0)))

    assert family_of(sent.request) == "family0"


def test_a_request_for_a_token_takes_from_the_rate() -> None:
    """With two requests a second, a call and its request for a token leave none."""
    made = Clocked(replace(LIMITS, calls_per_second_max=2))
    (first,) = made.arrive(10.0, 1)
    assert AllowRequest(first.call_id) not in made.step(10.0, RequestWanted(first.call_id))
    assert AllowRequest(first.call_id) in made.step(10.5, TimePassed())

    assert not made.arrive(10.6, 4)
    assert len(calls(made.step(11.0, TimePassed()))) == 1
