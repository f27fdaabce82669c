"""Judge what an answer to a write call means (architecture.md D7, akeneo.md §2.2, §2.3, §7, §8).

Rule 1: only the status, `status_code` and the form of the body decide, never a message's text.
Rule 2: any answer that is not listed here is a suspicion: the PIM or the call may be at fault.
"""

from collections.abc import Sequence
from functools import lru_cache

from service.contracts.outcome import DELETE, UPSERT, Action
from service.core.inputs import Answer, CallFault, CallReply, FaultKind, ItemReply
from service.core.verdict_types import (
    Cancelled,
    Failure,
    FileLost,
    Forbidden,
    ItemKind,
    ItemVerdict,
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

ITEM_APPLIED = frozenset({201, 204})
ITEM_RETRY = frozenset({408, 429})
CALL_REFUSED = frozenset({400, 405, 406, 409, 415, 422})

ITEMS_MAX = 100
"""Most assets of a bulk call, and so most results of its answer."""


def judge(action: Action, codes: Sequence[str], answer: Answer) -> Verdict:
    """Return the verdict on a write call; `codes` are those of its assets, in order."""
    if isinstance(answer, CallFault):
        return _judge_fault(answer)
    if answer.status == 429:
        return Throttled(answer.retry_after_seconds)
    response = PimResponse(answer.status, answer.message, answer.errors)
    if answer.status == 403:
        return Forbidden(Failure("forbidden", response))
    if answer.status == 401:
        return Suspicious(Failure("forbidden", response))
    if answer.is_from_pim and answer.status in CALL_REFUSED:
        return Refused("refused_by_pim", response)
    if answer.status == 413 and (answer.is_from_pim or action == UPSERT):
        return Refused("too_large", response, is_from_pim=answer.is_from_pim)
    if answer.is_from_pim and answer.status == 404:
        return Missing(response)
    if action == DELETE and answer.status == 204:
        return Judged((ItemVerdict(ItemKind.APPLIED, response),))
    if action == UPSERT and answer.status == 200:
        return _judge_items(codes, answer)
    return Suspicious(Failure("pim_error", response))


def judge_upload(answer: Answer) -> Verdict:
    """Return the verdict on the upload of a file (akeneo.md §6)."""
    if isinstance(answer, CallFault):
        return _judge_fault(answer)
    response = PimResponse(answer.status, answer.message, answer.errors)
    if answer.status == 201 and answer.media_code:
        return Uploaded(answer.media_code)
    if answer.status == 201:
        without = PimResponse(201, "The PIM took the file and gave no code for it.")
        return Suspicious(Failure("pim_error", without))
    if answer.status in {401, 403}:
        return Suspicious(Failure("forbidden", response))
    if answer.status == 413 or (answer.is_from_pim and answer.status in CALL_REFUSED):
        return Refused("refused_by_pim", response, is_from_pim=answer.is_from_pim)
    return Suspicious(Failure("pim_error", response))


def is_well(answer: Answer) -> bool:
    """Return whether the PIM itself answered a GET with 200."""
    return isinstance(answer, CallReply) and answer.status == 200 and answer.is_from_pim


def is_written(answer: Answer) -> bool:
    """Return whether the PIM carried out the PATCH of one entity."""
    return isinstance(answer, CallReply) and answer.status in ITEM_APPLIED


def is_refused(answer: Answer) -> bool:
    """Return whether the PATCH of one entity can never succeed, by the PIM or by its code."""
    if isinstance(answer, CallFault):
        return answer.kind is FaultKind.UNSENDABLE
    return answer.is_from_pim and answer.status != 200 and not is_written(answer)


def is_unknown(answer: Answer) -> bool:
    """Return whether the PIM itself answered a GET with 404."""
    return isinstance(answer, CallReply) and answer.status == 404 and answer.is_from_pim


def _judge_fault(fault: CallFault) -> Verdict:
    response = PimResponse(None, fault.message)
    match fault.kind:
        case FaultKind.CANCELLED:
            return Cancelled()
        case FaultKind.UNSENDABLE:
            return Unsendable(response)
        case FaultKind.FILE_LOST:
            return FileLost(fault.message)
        case FaultKind.TIMEOUT:
            return Suspicious(Failure("timeout", response))
        case FaultKind.CREDENTIALS:
            return Suspicious(Failure("forbidden", response))
        case _:
            return Suspicious(Failure("pim_error", response))


def _judge_items(codes: Sequence[str], reply: CallReply) -> Verdict:
    items = reply.items
    if items is None:
        return _mismatch(reply, "The PIM answered 200 without a list of results.")
    if len(items) != len(codes):
        count = f"{len(items)}" if len(items) <= ITEMS_MAX else f"more than {ITEMS_MAX}"
        return _mismatch(reply, f"The PIM answered with {count} results for {len(codes)} assets.")
    if [item.code for item in items] != codes and not all(map(_matches, codes, items)):
        return _mismatch(reply, "The PIM's results are not for the assets that were sent.")
    verdicts = tuple(
        [
            _judge_status(item.status)  # most results consist of the same status alone
            if item.message is None and not item.errors
            else _judge_response(PimResponse(item.status, item.message, item.errors))
            for item in items
        ]
    )
    if all(verdict.kind is ItemKind.RETRY for verdict in verdicts):
        return Suspicious(Failure("pim_error", verdicts[0].response))
    return Judged(verdicts)


def _matches(code: str, item: ItemReply) -> bool:
    """Return whether a result is for this code; the PIM may change its case (akeneo.md §2.5)."""
    return item.code == code or (item.code is not None and item.code.casefold() == code.casefold())


@lru_cache(maxsize=1_000)
def _judge_status(status: int | None) -> ItemVerdict:
    """Return a verdict that all results of this status alone share."""
    return _judge_response(PimResponse(status))


def _judge_response(response: PimResponse) -> ItemVerdict:
    if response.status in ITEM_APPLIED:
        return ItemVerdict(ItemKind.APPLIED, response)
    if response.status is None or response.status in ITEM_RETRY or response.status >= 500:
        return ItemVerdict(ItemKind.RETRY, response)
    return ItemVerdict(ItemKind.REFUSED, response)


def _mismatch(reply: CallReply, message: str) -> Suspicious:
    return Suspicious(Failure("pim_error", PimResponse(reply.status, message)))
