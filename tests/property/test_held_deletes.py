"""The ceiling on deletes: beyond it, those of a family wait for a person, and nothing else does."""

from collections import Counter

import pytest
from msgspec.structs import replace

from service.adapters.telemetry.health import is_working
from service.core.inputs import (
    Answer,
    Assigned,
    CallFault,
    CallReply,
    DrainKind,
    DrainStarted,
    FaultKind,
    Forgotten,
    Released,
    Start,
)
from service.core.model import Binding, Partition
from service.core.requests import DeleteOne, Request, UpsertAssets
from tests.support.drive import Drive

CEILING = 10
HOUR = 3600.0
DAY = 24 * HOUR


def drive(**limits: object) -> Drive:
    """A replica that lets ten deletes of a family go in an hour."""
    return Drive(limits={"window_seconds_max": 0.0, "deletes_per_hour_max": CEILING, **limits})


def filled(made: Drive, assets: int = 30, family: str = "family") -> Drive:
    """Write so many assets, which can be deleted then."""
    for number in range(assets):
        made.upsert(family, f"a{number}")
    return made.run(60)


def held(assets: int = 30, **limits: object) -> tuple[Drive, list[str]]:
    """A replica that was told to delete all of its assets, and holds most of them."""
    made = filled(drive(**limits), assets)
    ids = [made.delete("family", f"a{number}") for number in range(assets)]
    made.run(60)
    return made, ids


def deleted(made: Drive) -> Counter[str]:
    """How many assets the PIM deleted, by family."""
    return Counter(
        sent.request.family
        for sent in made.sent
        if isinstance(sent.request, DeleteOne)
        and isinstance(sent.answer, CallReply)
        and sent.answer.status == 204
    )


def test_beyond_the_ceiling_deletes_wait_for_a_person() -> None:
    """For as long as it takes, and it is said once."""
    made, ids = held()
    made.run(DAY)
    assert deleted(made) == {"family": CEILING}
    assert made.statuses(ids) == {"applied": CEILING}
    assert len(made.noted("deletes.ceiling_reached")) == 1
    status = made.pipeline.status(made.now)
    assert (status.held_changes, status.over_ceiling) == (20, ("family",))


def test_all_else_goes_on() -> None:
    """Upserts of the family, deletes of others, and new families."""
    made, _ = held()
    ids = [made.upsert("family", f"new{number}") for number in range(50)]
    filled(made, 5, "other")
    ids += [made.delete("other", f"a{number}") for number in range(5)]
    made.run(60)
    assert made.statuses(ids) == {"applied": 55}
    assert made.pipeline.status(made.now).waits_for == "deletes"


def test_a_held_delete_keeps_the_order_of_its_asset() -> None:
    """What comes later waits behind it, whatever the case of its code, and goes after it."""
    made, ids = held()
    behind = [made.upsert("family", code, label=code) for code in ("a29", "A29", "a29")]
    behind += [made.delete("family", "a29"), made.upsert("family", "a29")]
    made.run(HOUR)
    assert not made.statuses(behind)
    made._step(Released())
    made.run(60)

    assert made.statuses(ids + behind)["applied"] >= 33
    assert made.pipeline.pending_changes == 0
    writes = [sent.request for sent in made.writes]
    of_asset = [
        request
        for request in writes
        if (isinstance(request, DeleteOne) and request.code.lower() == "a29")
        or (
            isinstance(request, UpsertAssets)
            and any(asset.asset.code.lower() == "a29" for asset in request.assets)
        )
    ]
    assert isinstance(of_asset[0], UpsertAssets), "it was there before"
    assert isinstance(of_asset[1], DeleteOne)
    assert isinstance(of_asset[-1], UpsertAssets)


def test_upserts_before_a_held_delete_do_not_wait() -> None:
    made, _ = held()
    first = made.upsert("family", "fresh")
    second = made.delete("family", "fresh")
    made.run(60)
    assert made.statuses([first, second]) == {"applied": 1}


def test_a_release_lets_go_what_was_read_and_counts_what_comes_later() -> None:
    """One look is enough for what was there; the next mass of deletes needs another."""
    made, ids = held()
    shown = made.pipeline.held_back()
    ((of_family),) = shown.deletes
    assert (of_family.family, len(of_family.codes)) == ("family", 5)
    assert of_family.deletes + shown.others == made.pipeline.status(made.now).held_changes
    assert not shown.dead_letters
    unread = [made.delete("family", f"gone{number}") for number in range(5)]
    made._step(Released({Partition("events", 0): len(made._log[0])}))
    made.run(60)
    assert made.statuses(ids + unread) == {"applied": 35}
    assert made.noted("deletes.released")

    filled(made)
    later = [made.delete("family", f"a{number}") for number in range(30)]
    made.run(60)
    assert made.statuses(later) == {"applied": CEILING}
    assert len(made.noted("deletes.ceiling_reached")) == 2


def test_a_release_ends_before_the_offset_that_it_names() -> None:
    """The first record of later has its place below the ceiling like those after it."""
    made, _ = held()
    for number in range(15):
        made.upsert("family", f"later{number}")
    made.run(60)
    end = len(made._log[0])
    later = [made.delete("family", f"later{number}") for number in range(15)]
    made._step(Released({Partition("events", 0): end}))
    made.run(60)

    assert made.statuses(later) == {"applied": CEILING}


@pytest.mark.parametrize("is_created_again", [False, True])
def test_a_release_does_not_cover_a_topic_that_is_created_again(
    is_created_again: bool,  # noqa: FBT001
) -> None:
    """Its offsets begin at 0 again, far below those that were released."""
    made, _ = held()
    for number in range(30):
        made.upsert("family", f"later{number}")
    made._step(Released({Partition("events", 0): len(made._log[0]) + 100}))
    made.run(60)
    made._step(Forgotten())
    if is_created_again:
        made._log[0].clear()
        made.outcomes.clear()
    position = made._read[0] = len(made._log[0])
    start = Start(position, binding=Binding(topic_id="new" if is_created_again else ""))
    made._step(Assigned(2, {Partition("events", 0): start}, 1))
    ids = [made.delete("family", f"later{number}") for number in range(30)]
    made._log[0][position:] = [
        replace(record, origin=replace(record.origin, epoch=2))
        for record in made._log[0][position:]
    ]
    made.run(60)

    assert made.statuses(ids) == {"applied": CEILING if is_created_again else 30}


def test_a_release_is_forgotten_when_all_that_it_covers_is_committed() -> None:
    made, _ = held()
    made._step(Released({Partition("events", 0): len(made._log[0]) + 1}))
    made.run(60)
    assert made.pipeline.dispatcher.held.released
    made.upsert("family", "last")
    made.run(60)

    assert not made.pipeline.dispatcher.held.released


def test_a_release_of_nothing_is_nothing() -> None:
    made = filled(drive())
    made._step(Released())
    assert not made.noted("deletes.released")


def test_deletes_of_absent_assets_do_not_count() -> None:
    """A source that cannot tell an asset's family deletes it in each."""
    made = drive()
    ids = [made.delete("family", f"never{number}") for number in range(100)]
    made.run(60)
    assert made.statuses(ids) == {"applied": 100}
    assert not made.noted("deletes.ceiling_reached")
    filled(made)
    ids = [made.delete("family", f"a{number}") for number in range(30)]
    made.run(60)
    assert made.statuses(ids) == {"applied": CEILING}


def test_up_to_the_ceiling_in_every_hour_nobody_waits() -> None:
    made = filled(drive(), 100)
    ids = []
    for number in range(100):
        ids.append(made.delete("family", f"a{number}"))
        made.run(1.01 * HOUR / CEILING)
    assert made.statuses(ids) == {"applied": 100}


def test_without_a_ceiling_nobody_waits() -> None:
    made, ids = held(deletes_per_hour_max=0)
    assert made.statuses(ids) == {"applied": 30}


def test_each_family_has_a_ceiling_of_its_own() -> None:
    made = drive()
    for family in ("one", "two"):
        filled(made, 20, family)
        for number in range(20):
            made.delete(family, f"a{number}")
    made.run(60)
    assert deleted(made) == {"one": CEILING, "two": CEILING}
    assert made.pipeline.status(made.now).over_ceiling == ("one", "two")


def test_held_deletes_close_no_window() -> None:
    """Upserts of the family are still collected for as long as a window takes."""
    made, _ = held(300, window_seconds_max=2.0, window_assets_max=100)
    calls = len(made.sent)
    for number in range(50):
        made.upsert("family", f"late{number}")
    made.run(30)
    assert len(made.sent) == calls + 1


def test_a_pause_for_a_person_is_no_standstill() -> None:
    """`/livez` stays well, however long it lasts."""
    made, _ = held()
    made.run(DAY)
    status = made.pipeline.status(made.now)
    assert status.waits_for == "deletes"
    assert status.silent_seconds > HOUR
    assert is_working(status, 60.0)


def test_a_shutdown_does_not_wait_for_a_person() -> None:
    made, _ = held()
    made._step(DrainStarted(DrainKind.SHUTDOWN, made.now + 30))
    made.run(1)
    assert made.drained == 20


def test_held_deletes_pause_the_intake_as_all_that_is_pending() -> None:
    made = filled(drive(pending_changes_max=100))
    for number in range(1000):
        made.delete("family", f"a{number % 30}")
        made.delete("family", f"b{number}")
    made.run(60)
    assert made.pending_max <= 100 + 500
    assert all(one.is_paused for one in made.pipeline.status(made.now).partitions)
    assert made.pipeline.status(made.now).waits_for == "deletes"


def forbids_deletes(request: Request, now: float) -> Answer | None:
    """A PIM in which deletes are forbidden until an hour has passed."""
    if isinstance(request, DeleteOne) and now < HOUR:
        return CallReply(403, is_from_pim=True, message="no right")
    return None


def test_a_failing_family_gives_up_no_delete_that_waits_for_a_person() -> None:
    """Those let through fail by their retry budget; those held fail only if they are let go."""
    made = Drive(
        forbids_deletes,
        limits={"deletes_per_hour_max": CEILING, "retry_seconds_max": 20.0},
    )
    filled(made)
    ids = [made.delete("family", f"a{number}") for number in range(30)]
    for number in range(60):
        made.upsert("other", f"o{number}")
        made.run(10)
    assert made.statuses(ids)["failed"] == 30, "a failed delete takes no room"
    assert not made.noted("deletes.ceiling_reached")


def outage(_: Request, now: float) -> Answer | None:
    """A PIM that is down from the second minute to the third hour."""
    if 120 < now < 3 * HOUR:
        return CallFault(FaultKind.CONNECTION, "down")
    return None


def test_an_outage_neither_releases_nor_fails_anybody() -> None:
    made = Drive(outage, limits={"deletes_per_hour_max": CEILING})
    filled(made)
    ids = [made.delete("family", f"a{number}") for number in range(30)]
    made.run(60)
    late = [made.upsert("family", f"late{number}") for number in range(20)]
    made.run(DAY)
    assert made.statuses(ids) == {"applied": CEILING}
    assert made.statuses(late) == {"applied": 20}


@pytest.mark.parametrize("is_revoked", [False, True])
def test_the_next_assignment_reads_again_what_was_held(is_revoked: bool) -> None:  # noqa: FBT001
    """What was deleted still counts, and what was under way does not count twice."""
    made, ids = held()
    if is_revoked:
        made._step(DrainStarted(DrainKind.REVOCATION, made.now + 5))
        made.run(5)
    made._step(Forgotten())
    assert made.pipeline.status(made.now).held_changes == 0
    committed = {int(id_.rpartition("/")[2]) for id_ in made.outcomes}
    made._log[0] = [
        replace(record, origin=replace(record.origin, epoch=2)) for record in made._log[0]
    ]
    made._read[0] = 0
    start = Start(0, frozenset(committed))
    made._step(Assigned(2, {Partition("events", 0): start}, 1))
    made._at(made.now, made._poll)
    made.run(HOUR / 2)
    assert made.statuses(ids) == {"applied": CEILING}
    assert made.pipeline.status(made.now).held_changes == 20
    made._step(Released())
    made.run(60)
    assert made.statuses(ids) == {"applied": 30}
