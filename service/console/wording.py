"""What became of a change, why, and who must act, in plain words."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast, get_args

from service.console.entry import Ending, Entry
from service.console.query import PROBLEMS
from service.contracts.outcome import Reason, Result, Status
from service.contracts.reasons import CONTENT, NOBODY, REASONS, RESULTS, STATUSES, Meaning

_HEADLINES: Mapping[Ending, str] = {
    Ending("applied", "created"): "In the PIM: the asset was created",
    Ending("applied", "updated"): "In the PIM: the asset was updated",
    Ending("applied", "deleted"): "Deleted from the PIM",
    Ending("applied", "absent"): "Nothing to delete: the PIM did not have the asset",
    Ending("applied", "merged"): "In the PIM, together with a later change",
}

_HEADLINES_OF_STATUS: Mapping[str, str] = {
    "applied": "In the PIM",
    "superseded": "Not needed: the asset was deleted by a later change",
    "rejected": "Not in the PIM: the change was rejected",
    "failed": "Not in the PIM: all attempts failed",
    "skipped": "Left out on purpose",
}
"""The headlines of endings that have none of their own."""

_PLAIN: Mapping[Reason, Meaning] = {
    "refused_by_pim": Meaning(
        "The PIM refused the change; its messages are below.",
        CONTENT,
        "Correct the values that the messages name, and save the asset in the DAM again.",
    ),
    "invalid_values": Meaning(
        "The values do not fit the family's attributes in the PIM. The change was not sent.",
        REASONS["invalid_values"].who,
        "Correct the value, or the attribute in the PIM, that the messages name. Then save the "
        "asset in the DAM again.",
    ),
}
"""What people who look after assets have to do themselves, without the names of fields."""

_UNKNOWN = Meaning(
    "This page does not know this word: asset-sync may be newer than the page.",
    "the operator",
    "Update the console.",
)


class Told(NamedTuple):
    """What became of a change. `why` is empty if the headline says all.

    `who` and `remedy` are empty if nobody has to act.
    """

    headline: str
    why: str
    who: str
    remedy: str


def tell(entry: Entry) -> Told:
    """Return what became of the change, why, who must act, and how."""
    meaning = meaning_of(entry.ending)
    is_done = meaning.who == NOBODY
    return Told(
        headline=headline(entry.ending),
        why="" if entry.ending in _HEADLINES else meaning.meaning,
        who="" if is_done else meaning.who,
        remedy="" if is_done else meaning.remedy,
    )


def headline(ending: Ending) -> str:
    """Return in a few words what became of changes that ended like this."""
    known = _HEADLINES.get(ending) or _HEADLINES_OF_STATUS.get(ending.status)
    return known or f"Ended as {ending.status}"


def meaning_of(ending: Ending) -> Meaning:
    """Return the meaning of the reason or the result, or else that of the status."""
    known = cast("Reason", ending.detail)
    reason = _PLAIN.get(known) or REASONS.get(known)
    result = RESULTS.get(cast("Result", ending.detail))
    status = STATUSES.get(cast("Status", ending.status))
    if ending.detail and reason is None and result is None:
        return _UNKNOWN
    return reason or result or status or _UNKNOWN


class Choices(NamedTuple):
    """Endings that a search may ask for, each with its words, below a title."""

    title: str
    words: Mapping[str, str]


def choices() -> Iterator[Choices]:
    """Yield all endings that a search may ask for, in groups. The first group has no title."""
    yield Choices("", {"": "anything", PROBLEMS: "somebody must act (rejected or failed)"})
    statuses = get_args(Status)
    yield Choices("How it ended", {one: f"{_HEADLINES_OF_STATUS[one]} ({one})" for one in statuses})
    yield Choices("Why", {one: f"{_why(one)} ({one})" for one in get_args(Reason)})


def _why(reason: Reason) -> str:
    """Return the meaning of a reason, without marks and without what is only true beside a hit."""
    meaning = _PLAIN.get(reason) or REASONS[reason]
    return meaning.meaning.replace("; its messages are below", "").replace("`", "")
