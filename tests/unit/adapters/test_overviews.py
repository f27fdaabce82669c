"""The status pages of `translate` and `ingress`: what they show of which state."""

from dataclasses import replace

import pytest

from service.adapters.telemetry.ingress_overview import (
    REFUSALS_KEPT,
    IngressOverview,
    IngressTotals,
    Webhook,
)
from service.adapters.telemetry.overview import Cell, Overview, clock
from service.adapters.telemetry.translate_meters import SourceGauges
from service.adapters.telemetry.translate_overview import (
    ENDS_KEPT,
    TranslateAbout,
    TranslateOverview,
    TranslateTotals,
)
from service.core.facts import ChangeCompleted
from service.translation.status import SourceStatus
from service.webhooks.facts import (
    KeyNotFetched,
    RecordNotWritten,
    RequestAnswered,
    RequestRefused,
    RequestTurnedAway,
    RequestUnjudged,
)
from tests.unit.adapters.test_ingress_telemetry import GAUGES
from tests.unit.adapters.test_translate_telemetry import PLACE, status, translated

ABOUT = TranslateAbout("1.2.3", "acme", 100, 1024**2)


def translate(*statuses: SourceStatus, totals: TranslateTotals | None = None) -> Overview:
    """Return the page of these sources; each reads a host and has five records to read."""
    sources = {one.source: gauges(one) for one in statuses}
    return TranslateOverview(ABOUT, sources, totals or TranslateTotals()).read()


def gauges(found: SourceStatus) -> SourceGauges:
    """Return where this status is read."""
    return SourceGauges(lambda: found, lambda: {PLACE: 5}, dict, dict, ("dam",))


def ingress(totals: IngressTotals, problem: str | None = None) -> Overview:
    """Return the page of one webhook."""
    webhook = Webhook("bynder", "/bynder", "dam.bynder", "sns")
    return IngressOverview("1.2.3", [webhook], totals, lambda: GAUGES, lambda: problem).read()


def rows(overview: Overview, table: str) -> list[tuple[Cell, ...]]:
    """Return the rows of a table, each with a cell for each column."""
    [found] = [one for one in overview.tables if one.name == table]
    assert {len(row) for row in found.rows} <= {len(found.columns)}
    return [tuple(row) for row in found.rows]


def tile(overview: Overview, name: str) -> tuple[float | str, float | None]:
    """Return the value of a tile, and its limit."""
    [found] = [one for one in overview.tiles if one.name == name]
    return found.value, found.limit


def test_each_source_with_what_waits() -> None:
    """And why, with the trouble of its hosts and what is held back."""
    idle = replace(status(), source="thin")
    shown = translate(status("host", pending=2), replace(idle, held_changes=4))

    assert shown.trouble == "1 of 2 sources wait"
    waiting = "The DAM is unavailable: waiting, trying one read at a time."
    assert rows(shown, "sources") == [
        ("s3", waiting, 5, 2, 6, 0, 7),
        ("thin", "working", 5, 0, 0, 4, 7),
    ]
    assert rows(shown, "hosts") == [
        ("dam", "s3", "failing: The host dam answers 503."),
        ("dam", "thin", "no trouble"),
    ]
    assert rows(shown, "partitions")[0] == ("s3.raw/1", "s3", "working", 5, 2, 10)
    assert tile(shown, "pending items") == (6, 100)
    assert tile(shown, "pending MiB") == (0.0, 1.0)
    assert (tile(shown, "failing hosts")[0], tile(shown, "deletes held back")[0]) == (1, 4)


@pytest.mark.parametrize("reason", ["release", "deletes"])
def test_a_stopped_source_says_what_to_do(reason: str) -> None:
    """The numbers are in the sentence, and the command."""
    shown = translate(status("release" if reason == "release" else "deletes"))
    assert "`asset-sync release --source s3`" in str(rows(shown, "sources")[0][1])


def test_what_was_translated_and_what_ended_badly() -> None:
    """Newest first, as text on one line; what was skipped on purpose is not listed."""
    totals = TranslateTotals()
    source = totals.of("s3")
    source.note(translated())
    source.note(ChangeCompleted("raw/0/1#0", None, "skipped", "not_selected", "No rule."))
    for number in range(ENDS_KEPT + 1):
        source.note(ChangeCompleted(f"raw/0/{number}", None, "rejected", "unmappable", "Bad."))
    source.note(ChangeCompleted("raw/1/1", "f/c", "failed", "fetch_failed", "Line\nbreak"))
    shown = translate(status(), totals=totals)

    ends = rows(shown, "bad_ends")
    assert len(ends) == ENDS_KEPT
    assert ends[0][1:] == ("s3", "f/c", "failed", "fetch_failed", "Line break")
    assert ends[1][1:] == ("s3", f"raw/0/{ENDS_KEPT}", "rejected", "unmappable", "Bad.")
    assert (tile(shown, "events translated")[0], shown.trouble) == (1, "")


def test_the_answers_of_each_webhook() -> None:
    """With a column for each usual answer; unknown paths have a tile."""
    totals = IngressTotals()
    totals.note(RequestAnswered("bynder", "200", 0.001))
    totals.note(RequestAnswered("bynder", "401", 0.001))
    totals.note(RequestAnswered("bynder", "413", 0.001))
    totals.note(RequestAnswered("", "404", 0.001))
    shown = ingress(totals)

    assert rows(shown, "webhooks") == [("bynder", "/bynder", "dam.bynder", "sns", 1, 1, 0, 1)]
    assert tile(shown, "webhooks taken")[0] == 1
    assert tile(shown, "requests in total")[0] == 4
    assert tile(shown, "no webhook has this path")[0] == 1
    assert tile(shown, "in flight") == (1.0, 1.0)
    assert shown.trouble == ""
    assert ingress(totals, "No broker answers.").trouble.endswith("reached: No broker answers.")


def test_why_requests_were_refused() -> None:
    """The sender is not told; whoever looks at the page is."""
    totals = IngressTotals()
    for _ in range(REFUSALS_KEPT):
        totals.note(RequestRefused("bynder", "mismatch"))
    totals.note(RequestUnjudged("bynder", "key"))
    totals.note(RequestTurnedAway("bynder", "kafka"))
    totals.note(RecordNotWritten("dam.bynder", "Too slow."))
    totals.note(KeyNotFetched("https://sns.example/a.pem", "The answer was 404."))

    found = [row[1:] for row in rows(ingress(totals), "refusals")]
    assert len(found) == REFUSALS_KEPT
    assert found[:5] == [
        ("https://sns.example/a.pem", "key not fetched", "The answer was 404."),
        ("dam.bynder", "not written", "Too slow."),
        ("bynder", "503", "kafka"),
        ("bynder", "503", "key"),
        ("bynder", "401", "mismatch"),
    ]


def test_the_time_of_day() -> None:
    assert clock(1_795_000_000.9) == "11:06:40"
