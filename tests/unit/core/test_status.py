"""What is open now, as people see it."""

from service.core.effects import Request, UpsertAssets
from service.core.inputs import Answer, CallReply
from service.core.status import families
from tests.support.drive import Drive


def test_a_failing_family_is_named_with_what_the_pim_said() -> None:
    """Before the families with more open work."""

    def pim(request: Request, _: float) -> Answer | None:
        if isinstance(request, UpsertAssets) and request.family == "sick":
            return CallReply(403, own_json=True, message="Access denied.")
        return None

    drive = Drive(pim)
    for number in range(100):
        drive.upsert("sick", f"s{number}")
        for family in range(4):
            drive.upsert(f"well{family}", f"w{number}")
    for second in range(60):
        drive.upsert("well0", f"meanwhile{second}")
        drive.run(1)
    assert drive.noted("family.sick")
    for number in range(400):
        drive.upsert("well0", f"later{number}")
    drive.run(0.05)

    first, *others = families(drive.pipeline.calls)
    assert (first.family, first.is_sick) == ("sick", True)
    (why,) = first.failures
    assert (why.verb.value, why.reason, why.status) == ("upsert", "forbidden", 403)
    assert why.message == "Access denied."
    assert not any(one.is_sick or one.failures for one in others)
