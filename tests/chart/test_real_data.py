"""Alerts and dashboard on a real Prometheus that scrapes the real service."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.playground.embedded_kafka import free_ports
from service.playground.local_system import Event
from service.playground.pim.faults import Fault
from tests.chart.prometheus import NAMESPACE, PROGRAM, Prometheus, running_prometheus
from tests.support.proof import upsert
from tests.support.service import SystemUnderTest

pytestmark = [
    pytest.mark.chart,
    pytest.mark.kafka,
    pytest.mark.processes,
    pytest.mark.skipif(not PROGRAM.exists(), reason="tests/chart/tools did not run"),
]

DASHBOARD = (
    Path(__file__).resolve().parent.parent.parent
    / "deploy" / "helm" / "asset-sync" / "files" / "dashboard.json"
)  # fmt: skip
RATE_WINDOW = "10s"
"""What Grafana would put for `$__rate_interval`."""
LOAD_SECONDS = 12.0
REST_SECONDS = 15.0

LARGEST = {"s": 60.0, "percentunit": 1.0, "bytes": 1e9, "ops": 500.0, "reqps": 500.0, "short": 1e4}
"""The largest believable value under this load, by the unit of a panel."""
SMALLEST = {"bytes": 1e7}

ONLY_IN_TROUBLE = {"Retried calls by cause"}
"""Panels that may be empty under load."""


OTHER_ROWS = {"Translate", "Ingress", "Media files"}
"""Rows of the dashboard whose programs do not run here, or that have nothing to show."""


def panels() -> Iterator[tuple[str, str, str]]:
    """Yield title, unit and expression of each query of the service's panels."""
    row = ""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        row = panel["title"] if panel["type"] == "row" else row
        if row in OTHER_ROWS:
            continue
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", RATE_WINDOW)
            unit = panel["fieldConfig"]["defaults"]["unit"]
            yield panel["title"], unit, expression.replace("$namespace", ".*")


@asynccontextmanager
async def load(system: SystemUnderTest) -> AsyncIterator[None]:
    """Publish 50 changes a second until the context ends; one in ten is broken."""
    is_over = asyncio.Event()

    async def publish() -> None:
        batch = 0
        while not is_over.is_set():
            await system.publish_events([_change(system, batch * 25 + n) for n in range(25)])
            batch += 1
            await asyncio.sleep(0.5)

    publishing = asyncio.create_task(publish())
    try:
        yield
    finally:
        is_over.set()
        await publishing


def _change(system: SystemUnderTest, number: int) -> Event:
    family = ("packshots", "manuals")[number % 2]
    value = upsert(family, f"a{number % 30}", {"n": str(number)})
    if number % 3 == 0:
        value = json.dumps({"action": "delete", "asset_family": family, "code": "a1"}).encode()
    if number % 10 == 1:
        value = b"{broken"
    return Event(None, value, partition=number % system.partitions)


@asynccontextmanager
async def scraped(system: SystemUnderTest) -> AsyncIterator[Prometheus]:
    """A replica that has joined its group, and a Prometheus that scrapes it."""
    (port,) = free_ports(1)
    system.start(HTTP__PORT=str(port))
    await system.until_ready()
    folder = system.folder / "prometheus"
    folder.mkdir()
    async with running_prometheus(folder, [port]) as prometheus:
        yield prometheus


async def test_every_panel_has_data_in_its_unit_under_load(system: SystemUnderTest) -> None:
    """And none shows NaN, under load or at rest: Grafana would show it as it is."""
    async with scraped(system) as prometheus:
        async with load(system):
            await asyncio.sleep(LOAD_SECONDS)
            found = {expr: await prometheus.query(expr) for _, _, expr in panels()}
        for title, unit, expression in panels():
            values = [float(one["value"][1]) for one in found[expression]]
            if title not in ONLY_IN_TROUBLE and not expression.endswith("> 0"):
                assert values, f"{title}: {expression}"
            for value in values:
                assert SMALLEST.get(unit, 0.0) <= value <= LARGEST.get(unit, 1.0), (title, value)
        series = [one["metric"] for one in found[next(e for t, _, e in panels() if t == "Memory")]]
        assert [one["namespace"] for one in series] == [NAMESPACE]

        await asyncio.sleep(REST_SECONDS)
        for title, _, expression in panels():
            for one in await prometheus.query(expression):
                assert not math.isnan(float(one["value"][1])), title


async def test_alerts_fire_in_trouble_and_end_with_it(system: SystemUnderTest) -> None:
    """A minute of the rules is a second here."""
    faults = system.pim.faults
    async with scraped(system) as prometheus, load(system):
        faults.add(Fault(route="write", family="manuals", status=500, times=None))
        await prometheus.until_fires("AssetSyncFamilyFailing", "AssetSyncDeadLetters")
        faults.clear()
        faults.add(Fault(route="any", status=429, retry_after="1", times=None))
        await prometheus.until_fires("AssetSyncThrottled")
        faults.clear()
        faults.add(Fault(route="any", status=503, times=None))
        await prometheus.until_fires("AssetSyncPimDown")
        faults.clear()
        secret, system.pim.tokens.client_secret = system.pim.tokens.client_secret, "another"
        system.pim.tokens.forget()
        await prometheus.until_fires("AssetSyncCredentialsRefused")
        system.pim.tokens.client_secret = secret
        system.replicas[0].kill()
        await prometheus.until_fires("AssetSyncAbsent")


async def test_at_rest_no_alert_fires(system: SystemUnderTest) -> None:
    async with scraped(system) as prometheus:
        await system.publish_events([_change(system, number) for number in (0, 2, 4)])
        await asyncio.sleep(REST_SECONDS)
        assert await prometheus.firing() == set()
