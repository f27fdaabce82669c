"""The panels of the dashboard, and what their data may be."""

import json
import math
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.chart.prometheus import Prometheus, Series

DASHBOARD = (
    Path(__file__).resolve().parent.parent.parent
    / "deploy" / "helm" / "asset-sync" / "files" / "dashboard.json"
)  # fmt: skip
RATE_WINDOW = "10s"
"""What Grafana would put for `$__rate_interval`."""

LARGEST = {
    "s": 60.0, "percentunit": 1.0, "bytes": 1e9, "Bps": 1e7, "ops": 500.0, "reqps": 500.0,
    "short": 1e4,
}  # fmt: skip
"""The largest believable value under load, by the unit of a panel; else it is 1."""
SMALLEST = {"Memory": 1e7, "CPU": 1e-3, "Bytes of files": 1.0}
"""The smallest believable value under load, by the title of a panel; else it is 0."""


class Query(NamedTuple):
    """A query of a panel, as Grafana would send it."""

    row: str
    title: str
    unit: str
    expression: str


def queries(rows: Container[str]) -> Iterator[Query]:
    """Yield the queries of all panels in these rows of the dashboard."""
    row = ""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        row = panel["title"] if panel["type"] == "row" else row
        for target in panel.get("targets", ()) if row in rows else ():
            expression = target["expr"].replace("$__rate_interval", RATE_WINDOW)
            unit = panel["fieldConfig"]["defaults"]["unit"]
            yield Query(row, panel["title"], unit, expression.replace("$namespace", ".*"))


def every_row() -> set[str]:
    """Return the titles of all rows."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {panel["title"] for panel in panels if panel["type"] == "row"}


async def shown(prometheus: Prometheus, rows: Container[str]) -> dict[Query, list[Series]]:
    """Return what the panels in these rows show at the moment."""
    return {query: await prometheus.query(query.expression) for query in queries(rows)}


def assert_in_their_units(found: Mapping[Query, list[Series]]) -> None:
    """Check that each value is one that its unit can have under the load of the tests."""
    for query, series in found.items():
        largest = LARGEST.get(query.unit, 1.0)
        for value in values_of(series):
            assert SMALLEST.get(query.title, 0.0) <= value <= largest, (query, value)


def without_data(found: Mapping[Query, list[Series]]) -> set[str]:
    """Return the titles of the panels that show nothing."""
    return {query.title for query in found} - {query.title for query, some in found.items() if some}


def without_movement(found: Mapping[Query, list[Series]]) -> set[str]:
    """Return the titles of the panels that show nothing but zeros."""
    moving = {query.title for query, series in found.items() if any(values_of(series))}
    return {query.title for query in found} - moving


def assert_no_nan(found: Mapping[Query, list[Series]]) -> None:
    """Check that no panel has a value that is not a number: Grafana would show it as it is."""
    for query, series in found.items():
        assert not any(map(math.isnan, values_of(series))), query


def values_of(series: Iterable[Series]) -> list[float]:
    """Return the values of samples."""
    return [float(one["value"][1]) for one in series]
