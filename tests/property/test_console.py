"""Searches find exactly what matches, page by page; any text is shown escaped and found again."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.adapters.outcome_index import search, walks
from service.adapters.outcome_index.search import Searcher
from service.console.entry import Entry, StoredOutcome, entry_of, fold
from service.console.hits import Hits, IndexState
from service.console.links import link_of
from service.console.pages import Frame, asset_page, search_page
from service.console.query import PROBLEMS, Query, age_of, ask, ask_asset
from tests.support.console import NOW_MS, IndexUnderTest, links_of, read_page, stored

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
NAME = TEXT.filter(lambda text: text.strip() == text and "/" not in text)
FEW = st.sampled_from(["a", "ab", "abc", "B", "b\x00", "é", "\U0010ffff", "\U0010ffffa", "ß"])
FAMILY = st.sampled_from(["packshots", "Packshots", "videos"])
ENDING = st.sampled_from(
    [
        ("applied", "created", None),
        ("applied", "updated", None),
        ("rejected", None, "too_large"),
        ("failed", None, "timeout"),
        ("failed", None, "of_a_later_version"),
    ]
)
PAGE = 3
STATE = IndexState(1, 1, NOW_MS, 0)
ANYWHERE = st.tuples(FEW, FAMILY, ENDING, st.integers(0, 5), FEW)


def records(
    rows: list[tuple[str, str, tuple[str, str | None, str | None], int, str]],
) -> list[StoredOutcome]:
    """Return outcomes of few codes, families and times, so that many of them tie."""
    return [
        stored(
            number,
            NOW_MS - 1000 * ago,
            code=code,
            asset_family=family,
            status=status,
            result=result,
            reason=reason,
            event={"id": f"e{number}", "context": {"key": identifier}},
        )
        for number, (code, family, (status, result, reason), ago, identifier) in enumerate(rows)
    ]


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """Return a query of any kind, with any filters."""
    ago = st.none() | st.integers(-1, 6)
    since, until = draw(ago), draw(ago)
    return Query(
        code=fold(draw(st.just("") | FEW)),
        begins=draw(st.booleans()),
        identifier=fold(draw(st.just("") | FEW)),
        family=draw(st.just("") | FAMILY),
        ending=draw(st.sampled_from(["", PROBLEMS, "applied", "timeout", "created", "nothing"])),
        since_ms=None if since is None else NOW_MS - 1000 * since,
        until_ms=None if until is None else NOW_MS - 1000 * until,
    )


def matches(query: Query, entry: Entry) -> bool:
    """Say in plain words what a query selects."""
    code = fold(entry.code or "")
    return (
        (code.startswith(query.code) if query.begins else query.code in {"", code})
        and (not query.identifier or query.identifier in entry.identifiers)
        and query.family in {"", entry.family}
        and query.takes(entry.ending)
        and (query.since_ms is None or entry.at_ms >= query.since_ms)
        and (query.until_ms is None or entry.at_ms < query.until_ms)
    )


def pages(searcher: Searcher, query: Query) -> Iterator[Hits]:
    """Yield the pages of a search, one after another."""
    while True:
        hits = searcher.search(query, PAGE)
        assert hits is not None
        yield hits
        if hits.after is None:
            return
        assert query.after is None or hits.after > query.after, "each page goes on"
        query = query._replace(after=hits.after)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few outcomes need many chunks and partial pages."""
    monkeypatch.setattr(walks, "CHUNK_KEYS", 2)
    monkeypatch.setattr(search, "CHUNKS_MAX", 3)


def begin_segment(made: IndexUnderTest) -> None:
    """Let the next outcomes go into another file."""
    made.index.close()
    made.index._begin_segment()


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@settings(max_examples=150)
@given(
    st.lists(ANYWHERE, min_size=1, max_size=25),
    st.integers(1, 9),
    st.lists(queries(), min_size=3, max_size=8),
)
def test_all_pages_together_have_what_matches_in_order(
    rows: list[tuple[str, str, tuple[str, str | None, str | None], int, str]],
    each: int,
    asked: list[Query],
) -> None:
    """Over several segments, with filters that end pages early; nothing is there twice."""
    all_records = records(rows)
    entries = [kept for record in all_records if (kept := entry_of(record)) is not None]
    offsets = {record.offset: age_of(record.at_ms, record.offset) for record in all_records}
    with TemporaryDirectory() as folder:
        made = IndexUnderTest(Path(folder))
        made.open()
        for first in range(0, len(all_records), each):
            begin_segment(made)
            assert made.write(all_records[first : first + each], {0: first})
        searcher = Searcher(made.index)
        for query in asked:
            found = [entry for hits in pages(searcher, query) for entry in hits.entries]
            wanted = [entry for entry in entries if matches(query, entry)]
            ages = {entry.id: offsets[int(entry.id.rpartition("/")[2])] for entry in wanted}
            order = [
                (fold(one.code or "") if query.is_by_code else "", ages[one.id]) for one in wanted
            ]
            assert [one.id for one in found] == [
                one.id for _, one in sorted(zip(order, wanted, strict=True), key=lambda two: two[0])
            ], query
        searcher.close()
        made.index.close()


@given(NAME, NAME, TEXT, TEXT, TEXT, TEXT)
def test_any_text_is_escaped_and_leads_back_to_its_asset(
    family: str, code: str, message: str, key: str, value: str, user: str
) -> None:
    """Markup in any field stays text; the link of a hit asks for exactly this asset."""
    record = stored(
        0,
        status="rejected",
        result=None,
        reason="refused_by_pim",
        asset_family=family,
        code=code,
        message=message,
        errors=[{"attribute": key, "message": message}],
        event={"id": value, "context": {key: value}},
    )
    entry = entry_of(record)
    assert entry is not None
    frame = Frame(user=user)
    asked = ask({"code": code, "family": family, "id": value})
    hits = Hits((entry,))
    for page in (
        search_page(frame, asked, hits, STATE),
        asset_page(frame, asked, hits, STATE),
    ):
        found = read_page(page)
        assert {name for name, _ in found.elements} <= ALLOWED
        assert all(name in ATTRIBUTES for _, given in found.elements for name in given)
        assert visible(message) in found.texts
    (address,) = [one for one in links_of(search_page(frame, asked, hits, STATE)) if "asset" in one]
    again = ask_asset(dict(parse_qsl(urlsplit(address).query, keep_blank_values=True)))
    assert (again.query.family, again.query.code) == (family, fold(code))
    assert again.query.kind == "exact"


def visible(text: str) -> str:
    """Return the text with its control characters pictured."""
    pictured = {number: 0x2400 + number for number in range(32)} | {0x7F: 0x2421}
    unknown = {*range(0x80, 0xA0), *range(0xFDD0, 0xFDF0), 0xFFFE, 0xFFFF}
    return text.translate(pictured | dict.fromkeys(unknown, 0xFFFD))


ALLOWED = frozenset(
    {
        "a", "b", "bdi", "body", "br", "button", "caption", "code", "dd", "div", "dl", "dt",
        "footer", "form", "h1", "head", "header", "html", "input", "label", "li", "link", "main",
        "meta", "nav", "optgroup", "option", "p", "select", "small", "strong", "table", "tbody",
        "td", "th", "thead", "time", "title", "tr", "ul",
    }
)  # fmt: skip
ATTRIBUTES = frozenset(
    {
        "action", "aria-current", "aria-describedby", "aria-label", "autocapitalize",
        "autocomplete", "autofocus", "charset", "checked", "class", "content", "data-label",
        "datetime", "for", "href", "id", "label", "lang", "method", "name", "rel", "role", "scope",
        "selected", "spellcheck", "tabindex", "type", "value",
    }
)  # fmt: skip


@given(TEXT, TEXT, TEXT)
def test_a_link_out_stays_on_its_host(family: str, code: str, value: str) -> None:
    """No value of an event changes where a link leads, or what it is."""
    entry = Entry("e/0/0", 0, "applied", family=family, code=code, context=(("k", value),))
    template = "https://dam.example/{family}/a?c={code}#{context.k}"
    address = link_of(template, entry)
    if address is not None:
        parts = urlsplit(address)
        assert (parts.scheme, parts.netloc) == ("https", "dam.example")
        assert parts.path.count("/") == 2
        assert address.isascii()
        assert address.isprintable()
