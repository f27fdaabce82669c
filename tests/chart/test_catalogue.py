"""Alerts, dashboard and runbook speak of metrics that are there. Needs no tool."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from service.adapters.telemetry.catalogue import CATALOGUE, Metric
from service.adapters.telemetry.console_catalogue import CONSOLE_CATALOGUE
from service.adapters.telemetry.ingress_catalogue import INGRESS_CATALOGUE
from service.adapters.telemetry.logs import LEVEL_OF
from service.adapters.telemetry.translate_catalogue import TRANSLATE_CATALOGUE
from service.contracts.documents import page
from service.contracts.outcome import Reason
from service.webhooks.delivery import WhyRefused
from service.webhooks.facts import WhyBusy
from tests.chart import test_real_data, test_real_programs
from tests.chart.panels import every_row
from tools.chart_schema import settings_schema

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "deploy" / "helm" / "asset-sync"
EVERY_METRIC = (*CATALOGUE, *INGRESS_CATALOGUE, *TRANSLATE_CATALOGUE, *CONSOLE_CATALOGUE)
SERIES = re.compile(r"\b(asset_sync_\w+)(?:\{([^}]*)\})?")


def alerts() -> list[dict[str, Any]]:
    """Every alert."""
    found = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    return [rule for group in found["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    """Every query of alerts and dashboard."""
    yield from (rule["expr"] for rule in alerts())
    board = json.loads((CHART / "files" / "dashboard.json").read_text())
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (one["definition"] for one in board["templating"]["list"] if "definition" in one)


def names(metric: Metric) -> set[str]:
    """The series of a metric."""
    endings = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
    return {metric.full_name + ending for ending in endings}


def test_every_query_names_metrics_and_labels_of_the_catalogue() -> None:
    """A metric that is renamed takes its alerts along."""
    known = {name: metric for metric in EVERY_METRIC for name in names(metric)}
    foreign = {"namespace", "pod", "instance", "le"}
    queries = list(expressions())
    assert len(queries) > 40
    for query in queries:
        for name, matchers in SERIES.findall(query):
            assert name in known, query
            labels = known[name].labels
            for label, values in re.findall(r'(\w+)[!=]~?"([^"]*)"', matchers):
                assert label in foreign | labels.keys(), query
                for value in values.split("|") if label in labels else ():
                    assert value in labels[label], query


@pytest.mark.parametrize("catalogue", [TRANSLATE_CATALOGUE, INGRESS_CATALOGUE, CONSOLE_CATALOGUE])
def test_every_metric_of_a_program_is_looked_at(catalogue: tuple[Metric, ...]) -> None:
    """By a panel or an alert; those that only `run` has are chosen by hand."""
    series = {name for query in expressions() for name, _ in SERIES.findall(query)}
    unseen = [metric.name for metric in catalogue if not names(metric) & series]
    assert unseen == ["observer_errors"] * unseen.count("observer_errors")


def test_no_panel_covers_another() -> None:
    """Each panel has an id and a place of its own."""
    panels = json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = Counter(
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["w"])
        for y in range(place["h"])
    )
    assert max(cells.values()) == 1


def test_every_alert_has_its_page() -> None:
    """What it means, the first look, the remedy."""
    runbook = (ROOT / "docs" / "operations.md").read_text()
    sections = dict(
        re.findall(r"^### (AssetSync\w+)\n(.*?)(?=^##|\Z)", runbook, re.DOTALL | re.MULTILINE)
    )
    assert sections.keys() == {rule["alert"] for rule in alerts()}
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == page("operations.md", rule["alert"].lower())
        text = sections[rule["alert"]]
        assert all(f"**{word}**" in text for word in ("Means", "Look", "Do")), rule["alert"]


def test_the_pages_explain_each_log_line_that_warns() -> None:
    """Whoever reads such a line finds it on the page for the person on call, or the console's."""
    pages = "".join((ROOT / "docs" / name).read_text() for name in ("operations.md", "console.md"))
    warn = {fact.name for fact, level in LEVEL_OF.items() if level in {"warning", "error"}}
    assert {name for name in warn if f"`{name}`" not in pages} == set()


OTHER_NAMES = ("left_to_the_next_owner", "changes_too_large", "not_in_time", "replay_of")
"""Fields of log lines and outcomes, and refusals of a transaction."""


def test_the_runbook_names_metrics_and_log_events_that_exist() -> None:
    """A name that was changed in the code is changed in docs/operations.md too."""
    runbook = (ROOT / "docs" / "operations.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "service").rglob("*.py"))
    metrics = {metric.full_name for metric in EVERY_METRIC}
    metrics |= {one.full_name.removesuffix("_total") for one in EVERY_METRIC}
    labels = (*get_args(Reason), *get_args(WhyRefused), *get_args(WhyBusy))
    metrics |= {f"asset_sync_{word}" for word in (*labels, *OTHER_NAMES)}
    names = set(re.findall(r"`([a-z]+(?:_[a-z]+)+|[a-z_]+\.[a-z_]+)`", runbook)) - {
        "compression.type",
        "mapping.file",
        "sources.file",
        "translate.sources",
        "max_bytes",
        "max_concurrency",
    }
    assert len(names) > 40
    for name in names:
        known = f'"{name}"' in sources if "." in name else f"asset_sync_{name}" in metrics
        assert known, name


def test_every_alert_is_tried() -> None:
    """By promtool, in alerts_test.yaml."""
    tried = yaml.safe_load((Path(__file__).parent / "alerts_test.yaml").read_text())
    fired = {
        case["alertname"]
        for test in tried["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in alerts()}


ONLY_BY_RULES = {
    "AssetSyncStuck": "only a bug of the service stops it without a reason",
    "AssetSyncChangeStuck": "a change would have to be pending for longer than all retries take",
}
"""Alerts that no fault of a test makes fire, and why; promtool alone tries them."""


def test_every_alert_is_seen_to_fire() -> None:
    """By faults of the real programs, in test_real_data.py and test_real_programs.py."""
    texts = (path.read_text() for path in Path(__file__).parent.glob("test_real_*.py"))
    seen = {name for text in texts for name in re.findall(r'"(AssetSync\w+)"', text)}
    assert seen == {rule["alert"] for rule in alerts()} - ONLY_BY_RULES.keys()


def test_every_row_of_the_dashboard_is_seen_with_data() -> None:
    """Of the programs under load, in the same modules."""
    assert every_row() == test_real_data.ROWS | test_real_programs.ROWS


def test_the_chart_knows_every_setting_and_no_secret() -> None:
    """`make schemas` writes it anew."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["properties"]["settings"] == settings_schema()


def test_every_value_has_its_schema() -> None:
    """And no schema is left over."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())

    def same(found: dict[str, Any], described: dict[str, Any], path: str) -> None:
        if described.get("additionalProperties") is not False or path == "/settings":
            return
        assert found.keys() == described["properties"].keys(), path
        for name, inner in found.items():
            if isinstance(inner, dict):
                same(inner, described["properties"][name], f"{path}/{name}")

    same(values, schema, "")
