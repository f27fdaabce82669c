"""What every answer of the PIM means (D7, akeneo.md §2, §7, §8)."""

import pytest

from service.contracts.outcome import DELETE, UPSERT
from service.core.inputs import Answer, CallFault, CallReply, FaultKind, ItemReply
from service.core.send.verdict import judge, judge_upload
from service.core.verdict_types import (
    Cancelled,
    Failure,
    FileLost,
    Forbidden,
    ItemKind,
    Judged,
    Missing,
    PimResponse,
    Refused,
    Suspicious,
    Throttled,
    Unsendable,
    Uploaded,
    Verdict,
)


def upsert(answer: Answer, *codes: str) -> Verdict:
    """The verdict on a bulk call."""
    return judge(UPSERT, codes or ("a",), answer)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (CallReply(201, media_code="1/2/boot.jpg"), Uploaded("1/2/boot.jpg")),
        (CallReply(422, is_from_pim=True), Refused("refused_by_pim", PimResponse(422))),
        (CallReply(413, is_from_pim=True), Refused("refused_by_pim", PimResponse(413))),
        (CallReply(413), Refused("refused_by_pim", PimResponse(413), is_from_pim=False)),
        (CallReply(422), Suspicious(Failure("pim_error", PimResponse(422)))),
        (CallReply(404, is_from_pim=True), Suspicious(Failure("pim_error", PimResponse(404)))),
        (CallReply(200), Suspicious(Failure("pim_error", PimResponse(200)))),
        (CallReply(503), Suspicious(Failure("pim_error", PimResponse(503)))),
        (CallReply(403), Suspicious(Failure("forbidden", PimResponse(403)))),
        (
            CallFault(FaultKind.TIMEOUT, "late"),
            Suspicious(Failure("timeout", PimResponse(None, "late"))),
        ),
        (CallFault(FaultKind.FILE_LOST, "gone"), FileLost("gone")),
    ],
)
def test_the_answer_to_an_upload(answer: Answer, verdict: Verdict) -> None:
    """Only 201 with a code is a success (akeneo.md §6)."""
    assert judge_upload(answer) == verdict


@pytest.mark.parametrize("code", [None, ""])
def test_an_upload_without_a_code_is_a_suspicion(code: str | None) -> None:
    """The PIM may have the file: it is uploaded again, which leaves an orphan there."""
    verdict = judge_upload(CallReply(201, media_code=code))

    assert isinstance(verdict, Suspicious)
    assert verdict.failure.response.message == "The PIM took the file and gave no code for it."


def items(*statuses: int | None) -> CallReply:
    """A bulk answer for the assets a, b, c and so on."""
    replies = tuple(
        ItemReply(code, status) for code, status in zip("abcdef", statuses, strict=False)
    )
    return CallReply(200, is_from_pim=True, items=replies)


def kinds(verdict: Verdict) -> list[ItemKind]:
    """What it says of each asset."""
    assert isinstance(verdict, Judged)
    return [item.kind for item in verdict.items]


def test_each_item_has_its_own_verdict() -> None:
    """201 and 204 applied; 408, 429, 5xx and none to be tried again; all else refused."""
    found = kinds(upsert(items(201, 204, 422, 503, 429, None), *"abcdef"))

    applied, refused, retry = ItemKind.APPLIED, ItemKind.REFUSED, ItemKind.RETRY
    assert found == [applied, applied, refused, retry, retry, retry]


@pytest.mark.parametrize("status", [200, 302, 400, 404, 409, 413, 499])
def test_any_other_item_status_refuses(status: int) -> None:
    """Also one that nobody documented."""
    assert kinds(upsert(items(201, status), "a", "b"))[1] is ItemKind.REFUSED


@pytest.mark.parametrize(
    "answer",
    [
        items(503, 429),
        items(201),
        items(201, 204, 204),
        CallReply(200, is_from_pim=True, items=(ItemReply("b", 201), ItemReply("a", 201))),
        CallReply(200, is_from_pim=True, items=(ItemReply(None, 201), ItemReply("b", 201))),
        CallReply(200, is_from_pim=True),
        CallReply(200),
        CallReply(204),
        CallReply(302),
        CallReply(401, is_from_pim=True),
        CallReply(404),
        CallReply(408, is_from_pim=True),
        CallReply(418),
        CallReply(422),
        CallReply(500, is_from_pim=True),
        CallReply(503),
        CallFault(FaultKind.TIMEOUT, "x"),
        CallFault(FaultKind.CONNECTION, "x"),
        CallFault(FaultKind.CREDENTIALS, "x"),
    ],
)  # fmt: skip
def test_what_is_no_judgement_is_a_suspicion(answer: Answer) -> None:
    """Only retries, wrong lengths or codes, a proxy's pages, no answer."""
    assert isinstance(upsert(answer, "a", "b"), Suspicious)


@pytest.mark.parametrize("status", [400, 405, 406, 409, 415, 422])
def test_the_pims_own_refusal_of_a_call(status: int) -> None:
    """As its own JSON: it judged the call."""
    verdict = upsert(CallReply(status, is_from_pim=True))
    assert isinstance(verdict, Refused)
    assert verdict.reason == "refused_by_pim"


def test_too_large_a_call() -> None:
    """413 by whomever; only the PIM's own proves that it works. A delete has no body."""
    response = PimResponse(413)
    assert upsert(CallReply(413, is_from_pim=True)) == Refused("too_large", response)
    assert upsert(CallReply(413)) == Refused("too_large", response, is_from_pim=False)
    assert isinstance(judge(DELETE, ["a"], CallReply(413)), Suspicious)


def test_the_rest() -> None:
    """404 is to be checked, 403 may be the body's weight, 429 is nobody's, a cut is nothing."""
    assert isinstance(upsert(CallReply(404, is_from_pim=True)), Missing)
    assert isinstance(upsert(CallReply(403)), Forbidden)
    assert upsert(CallReply(429, retry_after_seconds=3.0)) == Throttled(3.0)
    assert isinstance(upsert(CallFault(FaultKind.CANCELLED, "x")), Cancelled)
    assert upsert(CallFault(FaultKind.UNSENDABLE, "x")) == Unsendable(PimResponse(None, "x"))


def test_a_delete() -> None:
    """204 is done; 404 is to be checked; a 200 is none of the PIM's answers to it."""
    assert kinds(judge(DELETE, ["a"], CallReply(204))) == [ItemKind.APPLIED]
    assert isinstance(judge(DELETE, ["a"], CallReply(404, is_from_pim=True)), Missing)
    assert isinstance(judge(DELETE, ["a"], CallReply(200)), Suspicious)


def test_the_pim_may_fold_case() -> None:
    """Whether it does is unknown; a code that differs by case alone matches."""
    reply = CallReply(200, is_from_pim=True, items=(ItemReply("ABC", 204),))
    assert isinstance(upsert(reply, "abc"), Judged)
