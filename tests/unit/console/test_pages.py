"""The pages: plain words, no script, and what screen readers and keyboards need."""

import re

import pytest

from service.console.hits import Hits, IndexState
from service.console.links import Links
from service.console.pages import (
    Frame,
    asset_page,
    message_page,
    search_page,
    waiting_page,
)
from service.console.query import Position, ask, ask_asset
from service.console.waiting import FamilyWork, PartitionWork, Replica, Unreachable, Waiting
from tests.support.console import NOW_MS, entry, links_of, read_page

STATE = IndexState(1_234, 5_000, NOW_MS, 0)
FRAME = Frame("ann@example.org", has_replicas=True)
REFUSED = entry(
    3,
    status="rejected",
    result=None,
    reason="refused_by_pim",
    message="The PIM refused it.",
    errors=[{"attribute": "caption", "locale": "en_US", "message": "too long"}],
)
WAITING = Waiting(
    (
        Replica("PIM unavailable: waiting.", "", 7, (FamilyWork("packshots", 5, 2, 1, "fail"),),
                (PartitionWork(1200),)),
    ),
    (Unreachable("10.0.0.7:8080", "no answer within 2 s."),),
)  # fmt: skip


def texts(page: str) -> str:
    return " ".join(read_page(page).texts)


def search(
    hits: Hits | None, frame: Frame = FRAME, state: IndexState = STATE, **fields: str
) -> str:
    return search_page(frame, ask(fields), hits, state)


PAGES = {
    "start": search(None),
    "hits": search(Hits((entry(1), REFUSED), Position("", -1, 1, 1)), code="sku_1"),
    "none": search(Hits(), code="sku_1"),
    "partial": search(Hits((), Position("", -1, 1, 1), is_partial=True), id="x", after="-9.1.1."),
    "problem": search_page(FRAME, ask({"from": "tomorrow"}), None, STATE),
    "asset": asset_page(FRAME, ask_asset({"family": "f", "code": "c"}), Hits((REFUSED,)), STATE),
    "waiting": waiting_page(FRAME, WAITING),
    "message": message_page(FRAME, "Sign in first", "Why."),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_page_needs_no_script_and_can_be_read_aloud(page: str) -> None:
    """One heading, a main landmark, a label for each field, headers for each column."""
    elements = read_page(page).elements
    names = [name for name, _ in elements]
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert "script" not in names
    assert "style" not in names
    assert not [key for _, given in elements for key in given if key.startswith(("on", "style"))]
    assert names.count("h1") == names.count("main") == names.count("header") == 1
    labelled = {given["for"] for name, given in elements if name == "label"}
    fields = [given["id"] for name, given in elements if name in {"input", "select"}]
    assert set(fields) == labelled
    described = {given.get("aria-describedby") for _, given in elements} - {None}
    ids = [given["id"] for _, given in elements if "id" in given]
    assert described <= set(ids)
    assert len(set(ids)) == len(ids)
    assert all(given.get("scope") for name, given in elements if name == "th")
    assert names.count("caption") == names.count("table")
    assert all(given.get("aria-label") for name, given in elements if name == "nav")
    assert next(given for name, given in elements if name == "a")["href"] == "#main"


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_all_addresses_are_relative(page: str) -> None:
    """A proxy may serve the console below any path."""
    for name, given in read_page(page).elements:
        address = given.get("href") or given.get("action")
        assert not address or re.match(r"(\./|#main|waiting$|asset\?|style\.css$)", address), name


def test_a_hit_says_what_why_and_who() -> None:
    shown = texts(PAGES["hits"])
    for words in (
        "Not in the PIM: the change was rejected",
        "The PIM refused the change; its messages are below.",
        "The PIM refused it.",
        "caption (en_US)",
        "too long",
        "Who must act: content people.",
        "Correct the values",
        "In the PIM: the asset was updated",
        "sku_1",
        "rejected: refused_by_pim",
        "1,234 ended changes can be found, the oldest of 18 Nov 2026",
        "Signed in as",
        "ann@example.org",
    ):
        assert words in shown, words


def test_a_hit_links_to_its_asset_and_out() -> None:
    links = Links("https://dam.example/{context.dam_id}", "https://pim.example/#/{family}/{code}")
    page = search(Hits((entry(1),)), Frame(links=links), code="x")
    assert {
        "asset?family=packshots&code=sku_1",
        "https://dam.example/DAM-1",
        "https://pim.example/#/packshots/sku_1",
    } <= set(links_of(page))
    assert "waiting" not in links_of(page)


def test_pages_of_results_are_linked() -> None:
    links = links_of(PAGES["partial"])
    assert "./?id=x" in links
    assert "./?id=x&after=-1.1.1." in links
    assert "Search further" in texts(PAGES["partial"])
    assert "Next page" in texts(PAGES["hits"])


def test_a_change_that_a_later_one_settled_leads_to_it() -> None:
    merged = entry(1, result="merged", merged_into="events/0/9")
    gone = entry(2, status="superseded", result=None, superseded_by="events/0/8")
    links = links_of(search(Hits((merged, gone)), code="x"))
    assert {"./?id=events%2F0%2F9", "./?id=events%2F0%2F8"} <= set(links)


def test_nothing_found_says_where_else_to_look() -> None:
    assert "No change matches." in texts(PAGES["none"])
    assert links_of(PAGES["none"]).count("waiting") == 2
    assert "No change matches." not in texts(PAGES["partial"]), "the search goes on"


def test_the_form_keeps_what_was_asked() -> None:
    page = search(None, code='a"<b>', begins="1", ending="timeout", family="f")
    given = {e["id"]: e for name, e in read_page(page).elements if name == "input"}
    assert given["code"]["value"] == 'a"<b>'
    assert "checked" in given["begins"]
    chosen = [e["value"] for name, e in read_page(page).elements if "selected" in e]
    assert chosen == ["timeout"]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (IndexState(0, 0, None, 5), "No change can be found yet. About 5 more"),
        (IndexState(1, 1, 0, None), "Kafka does not answer at present"),
        (IndexState(1, 1, 0, 1_000), "About 1,000 more are being read"),
    ],
)
def test_a_page_says_how_far_it_reaches(state: IndexState, words: str) -> None:
    assert words in "".join(read_page(search(None, state=state)).texts)


def test_what_waits_is_shown_with_what_is_unknown() -> None:
    shown = texts(PAGES["waiting"])
    for words in ("PIM unavailable: waiting.", "10.0.0.7:8080", "no answer within 2 s.", "1,200",
                  "packshots", "fail"):  # fmt: skip
        assert words in shown, words
    nothing = texts(waiting_page(FRAME, Waiting((Replica(),), ())))
    assert "Nothing is waiting" in nothing
    assert "nothing is known" in texts(waiting_page(FRAME, Waiting((), ())))


def test_a_broken_time_is_shown_as_a_number() -> None:
    assert str(10**18) in texts(search(Hits((entry(1, at_ms=10**18),)), code="x"))


def test_an_index_with_broken_times_alone_says_no_time() -> None:
    """As the first outcomes of a producer that writes microseconds."""
    shown = texts(search(None, state=IndexState(3, 5_000, 10**15, 0)))
    assert "3 ended changes can be found. " in shown


def test_a_history_says_which_code_is_written_differently() -> None:
    """The codes may be those of two assets."""
    entries = (entry(1, code="SKU_1"), entry(2, code="sku_1"))
    asked = ask_asset({"family": "packshots", "code": "sku_1"})
    shown = read_page(asset_page(FRAME, asked, Hits(entries), STATE)).texts
    assert shown.count("SKU_1") == shown.count("code") == 1
    assert "sku_1" in shown


def test_each_problem_is_a_sentence_of_its_own() -> None:
    shown = texts(search_page(FRAME, ask({"from": "tomorrow", "to": "never"}), None, STATE))
    assert "2026-11-23 10:15. “never” is not a day" in shown


def test_a_link_may_name_its_scheme_in_capitals() -> None:
    """Browsers read it so, and the settings accept it."""
    frame = FRAME._replace(links=Links("HTTPS://dam.example/{code}"))
    assert "HTTPS://dam.example/sku_1" in links_of(search(Hits((entry(1),)), frame, code="x"))


def test_an_outcome_without_an_asset_shows_its_event() -> None:
    page = search(Hits((entry(1, asset_family=None, code=None),)), id="evt-1")
    assert "evt-1" in texts(page)
    assert not [link for link in links_of(page) if "asset" in link]
