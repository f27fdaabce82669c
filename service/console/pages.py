"""The console's pages as HTML, made from values. They need no script."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlencode

from service.console.entry import Entry
from service.console.hits import Hits, IndexState
from service.console.links import Links, link_of
from service.console.markup import (
    NOTHING,
    Child,
    Html,
    foreign,
    join,
    link,
    link_out,
    prose,
    tag,
    text,
)
from service.console.query import Asked, address_of
from service.console.waiting import FamilyWork, Waiting
from service.console.wording import Choices, choices, tell

MILLISECONDS = 1000

_PARTIAL = (
    "The search stopped early, because very many changes had to be looked at. Search further, or "
    "narrow it down by a code, an identifier or a shorter time."
)
_NOTHING_FOUND = (
    "No change matches. Check the spelling, search for the beginning of the code, or look whether "
    "the change is still waiting."
)
_INTRODUCTION = (
    "Enter the code of an asset, or an identifier of your DAM, to see what became of its changes "
    "on their way to the PIM."
)


class Frame(NamedTuple):
    """What every page shows besides its subject.

    Attributes:
        user: The name of the reader, as the proxy says it, or empty.
        has_replicas: Whether there is a page of what is waiting.
        links: The templates of links to the DAM and the PIM.
    """

    user: str = ""
    has_replicas: bool = False
    links: Links = Links()


def search_page(frame: Frame, asked: Asked, hits: Hits | None, index: IndexState) -> str:
    """Return the form, and the hits of a search if there was one."""
    heading = tag("h1", "Where is my asset?")
    answer = NOTHING if hits is None else _answer(frame, asked, hits)
    introduction = tag("p", _INTRODUCTION) if hits is None else NOTHING
    body = join((heading, introduction, _form(asked), answer, _coverage(index)))
    return _page(frame, "Where is my asset?", body, current="search")


def asset_page(frame: Frame, asked: Asked, hits: Hits, index: IndexState) -> str:
    """Return the history of one asset, newest first, with links to it in other systems."""
    family, code = asked.query.family, asked.fields["code"]
    first = hits.entries[0] if hits.entries else None
    heading = tag("h1", foreign(code), " ", tag("small", foreign(family)))
    body = join(
        (
            heading,
            NOTHING if first is None else _links(frame.links, first),
            _entries(frame, hits.entries, title="History, newest first", history_of=code)
            if hits.entries
            else _nothing(frame),
            _further("asset", asked, hits),
            _coverage(index),
        )
    )
    return _page(frame, f"{code} ({family})", body)


def waiting_page(frame: Frame, waiting: Waiting) -> str:
    """Return what the replicas are working on now."""
    body = join(
        (
            tag("h1", "What is waiting now"),
            join(tag("p", foreign(why), class_="notice") for why in waiting.reasons),
            join(
                tag("p", foreign(one.address), ": ", foreign(one.why), class_="notice")
                for one in waiting.unreachable
            ),
            _sums(waiting),
            _families(waiting.families),
        )
    )
    return _page(frame, "What is waiting now", body, current="waiting")


def message_page(frame: Frame, title: str, message: str) -> str:
    """Return a page that only says something, such as that there is no such page."""
    return _page(frame, title, join((tag("h1", title), tag("p", message))))


# --- the page around it ----------------------------------------------------------------------


def _page(frame: Frame, title: str, body: Html, current: str = "") -> str:
    head = join(
        (
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="robots", content="noindex"),
            tag("title", f"{title} - asset-sync"),
            tag("link", rel="stylesheet", href="style.css"),
        )
    )
    main = tag("main", body, id="main", tabindex="-1")
    skip = link("#main", "Skip to the content", class_="skip")
    inside = join((skip, _header(frame, current), main))
    document = tag("html", tag("head", head), tag("body", inside), lang="en")
    return f"<!doctype html>\n{document}\n"


def _header(frame: Frame, current: str) -> Html:
    entries = [("./", "Search", "search")]
    if frame.has_replicas:
        entries.append(("waiting", "What is waiting now", "waiting"))
    items = (
        link(address, words, aria_current="page" if name == current else None)
        for address, words, name in entries
    )
    user = tag("small", "Signed in as ", foreign(frame.user)) if frame.user else None
    navigation = tag("nav", join(items), aria_label="Pages")
    return tag("header", tag("strong", "asset-sync"), navigation, user)


# --- the form --------------------------------------------------------------------------------


def _form(asked: Asked) -> Html:
    fields = asked.fields
    identifier_help = "an identifier in your DAM, or the id of an event"
    rows = (
        _field("code", "Asset code", fields["code"], "such as sku_54628_picture1", focus=True),
        _checkbox(asked),
        _field("id", "DAM id or event id", fields["id"], identifier_help),
        _field("family", "Asset family", fields["family"], "exactly as in the PIM"),
        _endings(fields["ending"]),
        _field("from", "From (UTC)", fields["from"], "such as 2026-11-23"),
        _field("to", "Up to and including (UTC)", fields["to"], "such as 2026-11-24"),
    )
    problems = tag("p", " ".join(asked.problems), class_="notice", role="alert")
    return tag(
        "form",
        problems if asked.problems else None,
        tag("div", join(rows), class_="fields"),
        tag("button", "Search", type="submit"),
        action="./",
        method="get",
        role="search",
        aria_label="Changes",
    )


def _field(name: str, label: str, value: str, help_: str, *, focus: bool = False) -> Html:
    return tag(
        "div",
        tag("label", label, for_=name),
        tag(
            "input",
            id=name,
            name=name,
            value=value,
            autocomplete="off",
            spellcheck="false",
            autocapitalize="none",
            autofocus=focus and not value,
            aria_describedby=f"{name}-help",
        ),
        tag("small", help_, id=f"{name}-help"),
    )


def _checkbox(asked: Asked) -> Html:
    box = tag(
        "input",
        id="begins",
        name="begins",
        type="checkbox",
        value="1",
        checked=bool(asked.fields["begins"]),
    )
    return tag("div", box, tag("label", "The code begins with this", for_="begins"), class_="check")


def _endings(chosen: str) -> Html:
    groups = (_group(group, chosen) for group in choices())
    return tag(
        "div",
        tag("label", "What became of it", for_="ending"),
        tag("select", join(groups), id="ending", name="ending"),
    )


def _group(group: Choices, chosen: str) -> Html:
    options = join(
        tag("option", words, value=value, selected=value == chosen)
        for value, words in group.words.items()
    )
    return tag("optgroup", options, label=group.title) if group.title else options


# --- hits ------------------------------------------------------------------------------------


def _answer(frame: Frame, asked: Asked, hits: Hits) -> Html:
    order = "in the order of codes" if asked.query.is_by_code else "newest first"
    found = (
        _entries(frame, hits.entries, title=f"Changes, {order}")
        if hits.entries
        else (NOTHING if hits.is_partial else _nothing(frame))
    )
    partial = tag("p", _PARTIAL, class_="notice", role="status") if hits.is_partial else NOTHING
    return join((found, partial, _further("./", asked, hits)))


def _nothing(frame: Frame) -> Html:
    where = join((" ", link("waiting", "What is waiting now"), "."))
    return tag("p", _NOTHING_FOUND, where if frame.has_replicas else None, role="status")


def _further(page: str, asked: Asked, hits: Hits) -> Html:
    """Return the links to the next page and to the first one."""
    links = []
    if asked.fields["after"]:
        links.append(link(f"{page}?{address_of(asked.fields)}", "First page", rel="first"))
    if hits.after is not None:
        words = "Search further" if hits.is_partial else "Next page"
        address = f"{page}?{address_of(asked.fields, hits.after)}"
        links.append(link(address, words, rel="next"))
    return tag("nav", join(links), aria_label="Pages of results") if links else NOTHING


def _entries(
    frame: Frame, entries: Iterable[Entry], title: str, history_of: str | None = None
) -> Html:
    columns = ("time (UTC)", "asset", "what became of it", "why, and who must act")
    if history_of is not None:
        columns = ("time (UTC)", "event", "what became of it", "why, and who must act")
    rows = (_row(frame, entry, history_of) for entry in entries)
    return _table(title, columns, rows)


def _row(frame: Frame, entry: Entry, history_of: str | None) -> Html:
    """Return the row of a change; in the history of an asset, `history_of` is its code."""
    is_history = history_of is not None
    told = tell(entry)
    what = tag("strong", told.headline, class_=_class_of(entry))
    subject = _asset(frame, entry) if history_of is None else _event(entry, history_of)
    return _table_row(
        _cell("time (UTC)", _time(entry.at_ms)),
        _cell("event" if is_history else "asset", subject),
        _cell("what became of it", what, tag("br"), _small_word(entry)),
        _cell("why, and who must act", _why(entry)),
    )


def _class_of(entry: Entry) -> str | None:
    known = {"applied", "superseded", "rejected", "failed", "skipped"}
    return entry.status if entry.status in known else None


def _small_word(entry: Entry) -> Html:
    """Return the status and its detail as other parts of asset-sync show them."""
    ending = entry.ending
    return tag("small", foreign(": ".join(part for part in ending if part)))


def _asset(frame: Frame, entry: Entry) -> Html:
    if entry.code is None or entry.family is None:
        return _event(entry)
    asset = urlencode({"family": entry.family, "code": entry.code}, errors="surrogatepass")
    name = link(f"asset?{asset}", foreign(entry.code))
    return join((name, tag("br"), tag("small", foreign(entry.family)), _links(frame.links, entry)))


def _event(entry: Entry, code: str | None = None) -> Html:
    """Return by which identifiers the event is known, in the DAM and on Kafka.

    Beside the code of an asset, that of the event is shown if its upper and lower case differ.
    """
    ids = [("event", entry.dam_event_id), ("event", entry.event_id)]
    known = [*ids, *entry.context, ("record", entry.id)]
    if code is not None and entry.code != code:
        known = [("code", entry.code), *known]
    shown = [(name, value) for name, value in known if value]
    items = (join((tag("dt", foreign(name)), tag("dd", foreign(value)))) for name, value in shown)
    return tag("dl", join(items))


def _why(entry: Entry) -> Html:
    told = tell(entry)
    parts: list[Child] = [tag("p", prose(told.why)) if told.why else NOTHING]
    if entry.message:
        parts.append(tag("p", foreign(entry.message), class_="message"))
    if entry.errors:
        parts.append(tag("ul", join(map(_error, entry.errors)), class_="message"))
    if (later := entry.merged_into or entry.superseded_by) is not None:
        parts.append(tag("p", link(f"./?{urlencode({'id': later})}", "See the later change")))
    if told.who:
        parts.append(tag("p", tag("b", f"Who must act: {told.who}."), " ", prose(told.remedy)))
    return join(parts)


def _error(error: tuple[str, str]) -> Html:
    where, message = error
    place = join((tag("b", foreign(where)), ": ")) if where else NOTHING
    return tag("li", place, foreign(message))


def _links(links: Links, entry: Entry) -> Html:
    """Return the links to the asset in other systems, as far as they are set up."""
    places = ((links.dam, "Open in the DAM"), (links.pim, "Open in the PIM"))
    found = [(link_of(template, entry), words) for template, words in places]
    items = [link_out(address, words) for address, words in found if address is not None]
    return tag("p", join(items), class_="links") if items else NOTHING


# --- what is waiting ---------------------------------------------------------------------------


def _sums(waiting: Waiting) -> Html:
    if not waiting.replicas:
        return tag("p", "No replica has answered, so nothing is known about what waits.")
    unread, pending = waiting.unread, waiting.pending
    if not unread and not pending:
        return tag("p", "Nothing is waiting: every event that arrived has its outcome.")
    tiles: Mapping[str, int] = {
        "events not read yet": unread,
        "changes being worked on": pending,
        "replicas that answered": len(waiting.replicas),
    }
    items = (
        tag("div", tag("small", name), tag("b", f"{count:,}"), class_="tile")
        for name, count in tiles.items()
    )
    return tag("div", join(items), class_="tiles")


def _families(families: tuple[FamilyWork, ...]) -> Html:
    if not families:
        return NOTHING
    columns = ("family", "waiting", "on their way", "being retried", "trouble")
    return _table("Changes by asset family", columns, map(_family, families))


def _family(one: FamilyWork) -> Html:
    numbers = (
        ("waiting", one.waiting),
        ("on their way", one.in_flight),
        ("being retried", one.waiting_for_retry),
    )
    cells = (_cell(name, f"{count:,}", class_="number") for name, count in numbers)
    trouble = _cell("trouble", foreign(one.failing or "none"), class_="message")
    name = tag("th", foreign(one.family), scope="row", role="rowheader")
    return _table_row(name, *cells, trouble)


# --- parts -----------------------------------------------------------------------------------


def _table(title: str, columns: Iterable[str], rows: Iterable[Html]) -> Html:
    """Return a table. Its roles are written out: a narrow screen shows its cells as blocks."""
    heads = (tag("th", name, scope="col", role="columnheader") for name in columns)
    return tag(
        "table",
        tag("caption", title),
        tag("thead", _table_row(*heads), role="rowgroup"),
        tag("tbody", join(rows), role="rowgroup"),
        role="table",
    )


def _table_row(*cells: Html) -> Html:
    return tag("tr", *cells, role="row")


def _cell(column: str, *children: Child, class_: str | None = None) -> Html:
    """Return a cell, which a narrow screen shows below the name of its column."""
    return tag("td", *children, class_=class_, role="cell", data_label=column)


def _coverage(index: IndexState) -> Html:
    """Return how far the answers reach, because silence would read as 'it never happened'."""
    return tag("footer", tag("p", join(map(text, _sentences(index)))), class_="soft")


def _sentences(index: IndexState) -> Iterator[str]:
    if index.oldest_ms is None:
        yield "No change can be found yet. "
    else:
        since = _utc(index.oldest_ms)
        oldest = "" if since is None else f", the oldest of {since:%d %b %Y %H:%M} UTC"
        yield f"{index.outcomes:,} ended changes can be found{oldest}. "
    if index.lag is None:
        yield "Kafka does not answer at present, so the newest changes may be missing."
    elif index.lag > 0:  # a change of a moment ago may be among them
        yield f"About {index.lag:,} more are being read and cannot be found yet."


def _time(at_ms: int) -> Html:
    """Return a time, with its machine-readable form; a broken timestamp is shown as a number."""
    time = _utc(at_ms)
    if time is None:
        return text(str(at_ms))
    return tag("time", f"{time:%d %b %Y %H:%M:%S}", datetime=time.isoformat())


def _utc(at_ms: int) -> datetime | None:
    """Return a time, or None if it is a broken timestamp, which no calendar has."""
    try:
        return datetime.fromtimestamp(at_ms / MILLISECONDS, UTC)
    except (ValueError, OverflowError, OSError):
        return None
