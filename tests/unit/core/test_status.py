"""What is open now, as people see it."""

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

    first, *others = families(drive.pipeline.dispatcher)
    assert (first.family, first.is_failing) == ("failing", True)
    (why,) = first.failures
    assert (why.action, why.reason, why.status) == ("upsert", "forbidden", 403)
    assert why.message == "Access denied."
    assert not any(one.is_failing or one.failures for one in others)


def test_how_often_the_pim_is_probed_is_shown_while_the_breaker_is_open() -> None:
    """The delays double from half a second to 30 s; 0 while the PIM is well."""
    drive = Drive(lambda _request, _now: CallReply(503))
    assert drive.pipeline.status(drive.now).probe_seconds_max == 0
    for number in range(10):
        drive.upsert(f"family{number}", "a")
    shown = []
    for _ in range(600):
        drive.run(0.5)
        now = drive.pipeline.status(drive.now)
        if now.waits_for == "pim" and now.probe_seconds_max not in shown:
            shown.append(now.probe_seconds_max)

    assert shown == sorted(shown)
    assert shown[0] <= 2
    assert shown[-1] == 30
