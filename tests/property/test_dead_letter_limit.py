"""The limit on dead letters: when most of what comes is wrong, a person is asked first."""

import pytest

from service.core.inputs import Answer, CallReply, DrainKind, DrainStarted, ItemReply, Released
from service.core.requests import Request, UpsertAssets
from service.core.settle.dead_letter_limit import DeadLetterLimit
from tests.support.drive import Drive

CHANGES = 20
RULES = {"dead_letter_share_max": 0.5, "dead_letter_share_changes": CHANGES}


def refuses_bad(request: Request, _: float) -> Answer | None:
    """A PIM that refuses every asset named bad…."""
    if not isinstance(request, UpsertAssets):
        return None
    items = [
        ItemReply(asset.asset.code, 422 if asset.asset.code.startswith("bad") else 201)
        for asset in request.assets
    ]
    return CallReply(200, is_from_pim=True, items=tuple(items))


def drive(**limits: object) -> Drive:
    """A replica that looks at the last 20 changes."""
    return Drive(refuses_bad, limits={"window_seconds_max": 0.0, **RULES, **limits})


def tripped() -> tuple[Drive, list[str]]:
    """A replica that stopped in the middle of 60 bad changes of two families."""
    made = drive(window_assets_max=3)
    ids = [made.upsert(f"family{number % 2}", f"bad{number}") for number in range(60)]
    made.run(60)
    return made, ids


def test_most_changes_over_two_families_stop_the_intake() -> None:
    """What trips it stays pending; nothing more is sent, and nothing more is read."""
    made, ids = tripped()
    completed, sent = len(made.outcomes), len(made.sent)
    assert CHANGES / 2 <= completed < len(ids)
    assert made.noted("dead_letters.limit_reached")
    late = made.upsert("family0", "good")
    made.run(3600)

    assert (len(made.outcomes), len(made.sent)) == (completed, sent)
    assert late not in made.outcomes
    status = made.pipeline.status(made.now)
    assert status.waits_for == "release"
    assert status.is_limit_reached
    assert 0 < status.withheld_changes <= status.pending_changes
    assert all(partition.is_paused for partition in status.partitions)


def test_a_release_lets_go_what_was_read_and_counts_what_comes_later() -> None:
    """One look is enough for what was there; the next bad changes need another."""
    made, ids = tripped()
    made._step(Released())
    made.run(60)
    assert made.statuses(ids) == {"rejected": 60}
    assert made.pipeline.pending_changes == 0
    assert len(made.noted("dead_letters.limit_reached")) == 1

    later = [made.upsert(f"family{number % 2}", f"bad{number}") for number in range(60)]
    made.run(60)
    assert len(made.noted("dead_letters.limit_reached")) == 2
    assert made.statuses(later).total() < len(later)


def test_a_release_of_nothing_is_nothing() -> None:
    """Somebody was hasty."""
    made = drive()
    made._step(Released())
    assert not made.noted("dead_letters.released")


def test_one_family_alone_stops_nobody() -> None:
    """Its mapping is wrong, not everything."""
    made = drive()
    ids = [made.upsert("family", f"bad{number}") for number in range(60)]
    made.run(60)
    assert made.statuses(ids) == {"rejected": 60}


def test_what_is_of_no_known_family_counts_as_of_any() -> None:
    """A producer that writes garbage."""
    made = drive()
    for _ in range(60):
        made._write(0, None, b"\xff")
    made.run(60)
    assert made.noted("dead_letters.limit_reached")
    assert len(made.outcomes) == CHANGES / 2


def test_up_to_the_share_all_is_well() -> None:
    """Half of the changes may be bad."""
    made = drive()
    for number in range(100):
        made.upsert(f"family{number // 2 % 2}", f"{'bad' if number % 2 else 'good'}{number}")
        made.run(1)
    assert made.statuses() == {"applied": 50, "rejected": 50}


def test_sick_families_are_not_counted() -> None:
    """They are judged elsewhere: their changes fail, and nobody is asked."""

    def forbids(request: Request, _: float) -> Answer | None:
        if isinstance(request, UpsertAssets) and request.family != "well":
            return CallReply(403, is_from_pim=True, message="no right")
        return None

    made = Drive(forbids, limits={**RULES, "retry_seconds_max": 20.0})
    ids = [made.upsert(f"family{number % 2}", f"a{number}") for number in range(60)]
    for number in range(200):
        made.upsert("well", f"w{number}")
        made.run(1)
    assert made.statuses(ids)["failed"] == 60
    assert not made.noted("dead_letters.limit_reached")


def test_a_shutdown_does_not_wait_for_a_person() -> None:
    """What is held back is left to the next owner."""
    made, _ = tripped()
    pending = made.pipeline.pending_changes
    made._step(DrainStarted(DrainKind.SHUTDOWN, made.now + 30))
    made.run(1)
    assert made.drained == pending > 0


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_the_count_slides(share: float) -> None:
    """Only the last changes count; a share of 1 is never passed."""
    limit = DeadLetterLimit(share, 10)
    for number in range(1000):
        limit.count(f"f{number % 2}", is_dead=number % 4 == 0)
        assert limit.dead <= 3
    assert not limit.is_reached
    for number in range(10):
        limit.count(f"f{number % 2}", is_dead=True)
    assert limit.is_reached is (share < 1)
    limit.release()
    assert (limit.dead, limit.is_reached) == (0, False)
