"""What is open now, as people see it."""

import pytest

from service.core.facts import BreakerClosed, BreakerOpened, FamilyRecovered
from service.core.inputs import Answer, CallReply
from service.core.requests import Request, UpsertAssets
from service.core.status import families
from tests.support.drive import Drive


def test_a_failing_family_is_named_with_what_the_pim_said() -> None:
    """Before the families with more open work."""

    def pim(request: Request, _: float) -> Answer | None:
        if isinstance(request, UpsertAssets) and request.family == "failing":
            return CallReply(403, is_from_pim=True, message="Access denied.")
        return None

    drive = Drive(pim)
    for number in range(100):
        drive.upsert("failing", f"s{number}")
        for family in range(4):
            drive.upsert(f"well{family}", f"w{number}")
    for second in range(60):
        drive.upsert("well0", f"meanwhile{second}")
        drive.run(1)
    assert drive.noted("family.failing")
    for number in range(400):
        drive.upsert("well0", f"later{number}")
    drive.run(0.05)

    first, *others = families(drive.pipeline.dispatcher, drive.now)
    assert (first.family, first.is_failing) == ("failing", True)
    (why,) = first.failures
    assert (why.action, why.reason, why.status) == ("upsert", "forbidden", 403)
    assert why.message == "Access denied."
    (began,) = [at for at, fact in drive.facts if fact.name == "family.failing"]
    assert why.seconds == pytest.approx(drive.now - began, abs=0.01)
    assert why.probe_in_seconds is None or 0 <= why.probe_in_seconds <= 30
    assert not any(one.is_failing or one.failures for one in others)


def test_an_outage_is_shown_with_its_reason_its_beginning_and_the_next_probe() -> None:
    """From the third failure in a row to the first success; the probes get rarer, up to 30 s."""
    is_down = True

    def pim(_request: Request, _now: float) -> Answer | None:
        return CallReply(503, message="Maintenance.") if is_down else None

    drive = Drive(pim)
    assert drive.pipeline.status(drive.now).outage is None
    for number in range(10):
        drive.upsert(f"family{number}", "a")
    waits = []
    for _ in range(600):
        drive.run(0.5)
        now = drive.pipeline.status(drive.now)
        assert (now.outage is not None) == (now.waits_for == "pim")
        if now.outage is not None and now.outage.probe_in_seconds is not None:
            waits.append(now.outage.probe_in_seconds)
    ((began, opened),) = [(at, fact) for at, fact in drive.facts if isinstance(fact, BreakerOpened)]
    assert now.outage is not None
    assert (now.outage.reason, now.outage.status) == ("pim_error", 503)
    assert now.outage.message == opened.message == "Maintenance."
    assert len(opened.families) == len(now.outage.families) == 3
    assert now.outage.seconds == pytest.approx(drive.now - began, abs=0.01)
    assert 0 < opened.probe_in_seconds <= 1
    assert 20 < max(waits) <= 30

    is_down = False
    drive.run(31)
    assert drive.pipeline.status(drive.now).outage is None
    ((ended, closed),) = [(at, fact) for at, fact in drive.facts if isinstance(fact, BreakerClosed)]
    assert closed.seconds == pytest.approx(ended - began, abs=0.01)


def test_the_end_of_a_failing_family_says_how_long_it_failed() -> None:
    """In the log, where its beginning may be far above."""
    is_well = False

    def pim(request: Request, _: float) -> Answer | None:
        if isinstance(request, UpsertAssets) and request.family == "failing" and not is_well:
            return CallReply(403, is_from_pim=True, message="Access denied.")
        return None

    drive = Drive(pim)
    for number in range(10):
        drive.upsert("failing", f"s{number}")
    for second in range(60):
        drive.upsert("well", f"w{second}")
        drive.run(1)
    is_well = True
    drive.run(60)

    (began,) = [at for at, fact in drive.facts if fact.name == "family.failing"]
    ((ended, fact),) = [(at, one) for at, one in drive.facts if isinstance(one, FamilyRecovered)]
    assert fact.seconds == pytest.approx(ended - began, abs=0.01)


def test_the_oldest_open_change_is_named_with_its_age() -> None:
    """It is the oldest that has no outcome, not the last that came."""

    def pim(request: Request, _: float) -> Answer | None:
        is_stuck = isinstance(request, UpsertAssets) and request.family == "stuck"
        return CallReply(503) if is_stuck else None

    drive = Drive(pim)
    (before,) = drive.pipeline.status(0.0).partitions or (None,)
    assert before is None or before.oldest_offset is None
    drive.run(1)
    drive.upsert("well", "first")
    drive.run(10)
    began = drive.now
    drive.upsert("stuck", "a")
    for second in range(30):
        drive.upsert("well", f"w{second}")
        drive.run(1)

    (shown,) = drive.pipeline.status(drive.now).partitions
    assert shown.oldest_offset == 1
    assert shown.oldest_seconds == pytest.approx(drive.now - began, abs=1.1)
