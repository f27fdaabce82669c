"""Rows and alerts of translate, ingress, media files and console, on the real programs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from aiohttp import web

from service.playground.embedded_kafka import EmbeddedKafka
from service.runtime.secret_cache import REMEMBER_SECONDS
from tests.chart.every_program import EveryProgram, every_program
from tests.chart.panels import (
    assert_in_their_units,
    assert_no_nan,
    shown,
    without_data,
    without_movement,
)
from tests.chart.prometheus import PROGRAM, Prometheus, running_prometheus
from tests.support.ingress import SECRET
from tests.support.raw import Item, thin_records
from tests.support.repeated import repeated

pytestmark = [
    pytest.mark.timeout(900),  # each alert is waited for
    pytest.mark.chart,
    pytest.mark.kafka,
    pytest.mark.processes,
    pytest.mark.skipif(not PROGRAM.exists(), reason="tests/chart/tools did not run"),
]

ROWS = {"Translate", "Ingress", "Media files", "Console"}
EMPTY_AT_REST = "Why a source writes nothing"
ONLY_IN_TROUBLE = {
    EMPTY_AT_REST,
    "Answered with 503",
    "Failing hosts",
    "Held back until a release",
    "Index built from the beginning in 1 h",
    "Keys of Amazon and Adobe fetched in 1 h",
    "Producers replaced in 1 h",
}
"""Panels that show zeros, or nothing, while all is well."""
AT_MOMENTS = {
    "Assets that wait for files",
    "Bytes being read",
    "Files on disk, as a share of the limit",
    "Memory of pending events",
    "Outcomes that are not in the index yet",
    "Pending items and events",
    "Quiet",
}
"""Panels that show zeros unless something is under way at the moment of a scrape."""
LOAD_SECONDS = 12.0
REST_SECONDS = 15.0
DEAD_HOSTS = tuple(f"127.0.0.{number}" for number in range(2, 12))
"""Hosts of files that do not listen: many, because one that fails is soon asked less often."""
LITTLE_ROOM = {
    "MEDIA__PRIVATE_HOSTS": ",".join(("localhost", *DEAD_HOSTS)),
    "MEDIA__MAX_BYTES": "1000000",
    "MEDIA__DISK_BYTES": "4000000",
    "MEDIA__MAX_CONCURRENCY": "8",
}
"""Settings that leave room on disk for four files, which one host may take."""


@asynccontextmanager
async def scraped(
    bootstrap: str, folder: Path, **settings: str
) -> AsyncIterator[tuple[EveryProgram, Prometheus]]:
    """All programs, and a Prometheus that scrapes them."""
    async with every_program(bootstrap, folder) as system:
        await system.start_all(**settings)
        (folder / "prometheus").mkdir()
        async with running_prometheus(folder / "prometheus", system.ports) as prometheus:
            yield system, prometheus


async def test_every_panel_has_data_in_its_unit_under_load(bootstrap: str, tmp_path: Path) -> None:
    """And none shows NaN, under load or at rest."""
    async with scraped(bootstrap, tmp_path) as (system, prometheus):
        async with repeated(system.send_all):
            await asyncio.sleep(LOAD_SECONDS)
            found = await shown(prometheus, ROWS)
        assert_in_their_units(found)
        assert without_data(found) <= {EMPTY_AT_REST}
        assert without_movement(found) <= ONLY_IN_TROUBLE | AT_MOMENTS
        await asyncio.sleep(REST_SECONDS)
        assert_no_nan(await shown(prometheus, ROWS))


async def test_alerts_fire_in_trouble_and_not_at_rest(
    own_broker: EmbeddedKafka, tmp_path: Path
) -> None:
    """A minute of the rules is a second here."""
    async with scraped(own_broker.bootstrap_servers, tmp_path, **LITTLE_ROOM) as (
        system,
        prometheus,
    ):
        await system.give_files("/a.jpg", "/b.jpg")
        await asyncio.sleep(REST_SECONDS)
        assert await prometheus.firing() == set()

        await publish_what_no_rule_takes(system)
        await let_the_dam_fail(system)
        await system.give_files_of(DEAD_HOSTS, *(f"/{number}.jpg" for number in range(4)))
        async with repeated(lambda _: sent(system, 401, "another", "another", "another")):
            await prometheus.until_fires(
                "AssetSyncSourceStopped", "AssetSyncHostFailing", "AssetSyncDownloadsFailing",
                "AssetSyncWebhooksRefused",
            )  # fmt: skip
        system.files.usual = dripping
        await system.give_files(*(f"/drips{number}.jpg" for number in range(20)))
        system.secret_file.unlink()
        await asyncio.sleep(REMEMBER_SECONDS)
        async with repeated(lambda _: sent(system, 503, SECRET)):
            await prometheus.until_fires("AssetSyncWebhooksNotAccepted", "AssetSyncMediaDiskFull")

        await damage_the_index(system)
        await prometheus.until_fires("AssetSyncConsoleIndexDamaged")
        own_broker.kill()
        await prometheus.until_fires("AssetSyncConsoleBehind", "AssetSyncNotCommitting")
        for program in ("translate", "ingress", "console"):
            system.running[program].kill()
        await prometheus.until_fires(
            "AssetSyncSourceUnread", "AssetSyncIngressAbsent", "AssetSyncConsoleAbsent"
        )


async def publish_what_no_rule_takes(system: EveryProgram) -> None:
    """Publish more items that the mapping rejects than the limit on dead letters allows."""
    item: Item = {"family": "packshots", "code": "a", "label": "L", "colour": "Teal"}
    wrong = [(number % system.partitions, [item]) for number in range(1200)]
    await system.publish_raw("bucket", wrong)


async def let_the_dam_fail(system: EveryProgram) -> None:
    """Publish events that are read back from a DAM in an outage."""
    system.dam.status = HTTPStatus.SERVICE_UNAVAILABLE
    await system.publish_raw("thin", thin_records(20, system.partitions))


async def sent(system: EveryProgram, status: int, *secrets: str) -> None:
    """Send webhooks that are all answered with this status."""
    assert await system.send_webhooks(*secrets) == {status}


async def dripping(request: web.Request) -> web.StreamResponse:
    """Answer with a file without an end, a byte a second: no timeout of a silent host ends it."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(1)


async def damage_the_index(system: EveryProgram) -> None:
    """Let the console meet a file of its index that is not one of SQLite."""
    assert await asyncio.to_thread(system.running["console"].stop, 30) == 0
    for file in system.index.glob("outcomes-*.sqlite"):
        file.write_bytes(b"no database")
    system.start_again("console")
