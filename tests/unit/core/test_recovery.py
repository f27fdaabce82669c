"""How soon work goes on after a refusal and after an outage, and what is remembered."""

from dataclasses import replace

from service.core.inputs import Answer, CallEnded, CallReply, ItemReply
from service.core.limits import BREAKER_SUSPICIONS, FAMILIES_REMEMBERED_MAX, FAMILY_SEEN_SECONDS
from service.core.requests import DeleteOne, Request, UpsertAssets
from service.core.send.families import Families
from service.core.verdict_types import PimResponse
from tests.support.clocked import LIMITS, Clocked, applied, calls
from tests.support.drive import Drive

WINDOW_SECONDS = 2.0
DOWN = CallReply(503)


def refuses_bad_values(request: Request, _: float) -> Answer | None:
    """A PIM that refuses the value "bad"."""
    if not isinstance(request, UpsertAssets):
        return None
    items = tuple(
        ItemReply(asset.asset.code, 422 if "bad" in str(asset.values) else 204)
        for asset in request.assets
    )
    return CallReply(200, is_from_pim=True, items=items)


def test_after_a_refusal_the_next_step_goes_at_once() -> None:
    """Merged changes of which one is bad are sent one by one, without a delay between them."""
    drive = Drive(refuses_bad_values)
    ids = [
        drive.upsert("packshots", "boot", label="a"),
        drive.upsert("packshots", "boot", color="bad"),
        drive.upsert("packshots", "boot", size="c"),
    ]
    drive.run()

    assert [drive.outcomes[id_]["status"] for id_ in ids] == ["applied", "rejected", "applied"]
    assert len(drive.writes) == 4
    assert drive.last_completed_at(ids) < WINDOW_SECONDS + 4 * 0.1 + 0.2


def test_upserts_that_a_refused_delete_superseded_are_sent_after_all() -> None:
    """They were left out only because the asset was to be deleted."""

    def pim(request: Request, _: float) -> Answer | None:
        return CallReply(422, is_from_pim=True) if isinstance(request, DeleteOne) else None

    drive = Drive(pim)
    upserts = [drive.upsert("packshots", "boot", label=label) for label in ("a", "b")]
    delete = drive.delete("packshots", "boot")
    drive.run()

    assert drive.statuses(upserts) == {"applied": 2}
    assert drive.statuses([delete]) == {"rejected": 1}


def test_a_breaker_that_a_get_closed_opens_after_as_many_failures_as_before() -> None:
    """Alone, an asset that fails shows by the GET after its probe that the PIM works."""
    drive = Drive(lambda request, _: DOWN if isinstance(request, UpsertAssets) else None)
    drive.upsert("packshots", "poison")
    drive.run()

    opened, closed = drive.noted("breaker.opened"), drive.noted("breaker.closed")
    for begin, end in zip(closed, opened[1:], strict=False):
        between = [sent for sent in drive.writes if begin < sent.ended_at <= end]
        assert len(between) == BREAKER_SUSPICIONS
    assert len(opened) > 1


def test_a_success_that_was_sent_before_a_failure_proves_nothing() -> None:
    """The PIM may have gone down between the two; with one attempt, proof would fail the second."""
    made = Clocked(replace(LIMITS, retry_attempts_max=1))
    first, second = made.arrive(1.0, 2)
    made.step(2.0, CallEnded(second.call_id, DOWN))

    (again,) = calls(made.step(3.0, applied(first)))

    assert again.request == second.request


def test_a_family_counts_as_seen_until_its_time_is_over() -> None:
    families = Families()
    families.mark_seen("packshots", 0.0)

    assert families.is_seen("packshots", FAMILY_SEEN_SECONDS)
    assert not families.is_seen("packshots", FAMILY_SEEN_SECONDS + 0.001)


def test_as_many_families_are_remembered_as_the_limit_says() -> None:
    """One more makes room for itself by the one that was named longest ago."""
    families = Families()
    response = PimResponse(404, "Not found.")
    for number in range(FAMILIES_REMEMBERED_MAX):
        families.mark_unknown(f"family{number}", response, 0.0)
    assert families.denial("family0", 0.0) == response
    families.mark_unknown("one more", response, 0.0)

    assert families.denial("family0", 0.0) is None
    assert families.denial("family1", 0.0) == response
    assert families.denial("one more", 0.0) == response
