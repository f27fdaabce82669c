"""Every way in which a change can end has plain words, and says who must act."""

from typing import get_args

import pytest

from service.console.entry import Ending
from service.console.wording import choices, headline, meaning_of, tell
from service.contracts.outcome import DEAD_STATUSES, Reason, Result, Status
from service.contracts.reasons import CONTENT, NOBODY, REASONS, REASONS_OF, REASONS_OF_TRANSLATION
from tests.support.console import entry

WORDS = {*get_args(Status), *get_args(Result), *get_args(Reason)}


@pytest.mark.parametrize("status", get_args(Status))
def test_every_status_has_a_headline_in_plain_words(status: Status) -> None:
    details = {
        "applied": get_args(Result),
        **{found: REASONS_OF.get(found, ()) for found in get_args(Status)},
    }
    if status == "applied":
        details["applied"] = get_args(Result)
    for detail in ("", *details[status], *REASONS_OF_TRANSLATION.get(status, ())):
        words = headline(Ending(status, detail))
        assert not words.startswith("Ended as")
        assert "_" not in words


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_says_why_who_and_how(reason: Reason) -> None:
    told = tell(entry(status="rejected", result=None, reason=reason))
    assert told.why.endswith(".")
    assert told.who in {"", REASONS[reason].who}
    assert bool(told.who) == bool(told.remedy) == (REASONS[reason].who != NOBODY)


@pytest.mark.parametrize("reason", get_args(Reason))
def test_what_content_people_have_to_do_is_said_without_names_of_fields(reason: Reason) -> None:
    told = tell(entry(status="rejected", result=None, reason=reason))
    assert CONTENT not in told.who or "`" not in told.why + told.remedy


def test_nobody_has_to_act_for_what_is_in_the_pim() -> None:
    assert tell(entry()) == (
        "In the PIM: the asset was updated", "", "", "",
    )  # fmt: skip
    assert tell(entry(status="superseded", result=None)).who == ""


def test_words_of_a_later_version_are_said_as_they_are() -> None:
    told = tell(entry(status="postponed", result=None, reason="new_reason"))
    assert told.headline == "Ended as postponed"
    assert "does not know" in told.why
    assert meaning_of(Ending("applied", "")).meaning == "The PIM has the change."


def test_a_search_may_ask_for_every_word() -> None:
    offered = {value: words for group in choices() for value, words in group.words.items()}
    assert offered.keys() >= {*get_args(Status), *get_args(Reason), "problems", ""}
    assert len(set(offered.values())) == len(offered)
    assert not any("`" in words or "below" in words for words in offered.values())
    assert [bool(group.title) for group in choices()] == [False, True, True]
    assert offered.keys() - {"", "problems"} <= WORDS
    assert {status for status in DEAD_STATUSES if status in offered} == DEAD_STATUSES
