"""Alerts and dashboard on a real Prometheus that scrapes the real service."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

from service.core.settle import offset_map
from service.playground.embedded_kafka import free_ports
from service.playground.local_system import Event
from service.playground.pim.faults import Fault
from tests.chart.panels import (
    assert_in_their_units,
    assert_no_nan,
    shown,
    without_data,
    without_movement,
)
from tests.chart.prometheus import (
    LOOK_SECONDS,
    NAMESPACE,
    PROGRAM,
    SCRAPE_SECONDS,
    WAIT_SECONDS_MAX,
    Prometheus,
    running_prometheus,
)
from tests.support.admin import admin_of
from tests.support.proof import upsert
from tests.support.repeated import repeated
from tests.support.service import SystemUnderTest

pytestmark = [
    pytest.mark.timeout(900),  # each alert is waited for
    pytest.mark.chart,
    pytest.mark.kafka,
    pytest.mark.processes,
    pytest.mark.skipif(not PROGRAM.exists(), reason="tests/chart/tools did not run"),
]

LOAD_SECONDS = 12.0
REST_SECONDS = 15.0

ROWS = {"Overview", "Outcomes and latency", "The PIM", "Kafka", "The process"}
ONLY_IN_TROUBLE = {
    "Circuit breaker, throttling, failing families",
    "Positions lost or moved, dead letters truncated in 1 h",
    "Retried calls by cause",
    "Why nothing is sent",
}
"""Panels that show zeros while all is well."""
AT_MOMENTS = {
    "Concurrent calls",
    "Pending changes",
    "Pending changes by partition",
    "Pending, as a share of the limit",
    "Oldest open change",
    "Span above the committed position",
    "Unread records",
    "Unread records by partition",
    "Wait for a call slot",
}
"""Panels that show zeros unless something is under way at the moment of a scrape."""


def load(system: SystemUnderTest) -> AbstractAsyncContextManager[None]:
    """Publish 50 changes a second until the context ends; one in ten is broken."""
    return repeated(
        lambda step: system.publish_events(_change(system, step * 25 + n) for n in range(25))
    )


def _change(system: SystemUnderTest, number: int) -> Event:
    family = ("packshots", "manuals")[number % 2]
    value = upsert(family, f"a{number % 30}", {"n": str(number)})
    if number % 3 == 0:
        value = json.dumps({"action": "delete", "asset_family": family, "code": "a1"}).encode()
    if number % 10 == 1:
        value = b"{broken"
    return Event(None, value, partition=number % system.partitions)


@asynccontextmanager
async def scraped(
    system: SystemUnderTest, seconds_of_minute: int = 1, **settings: str
) -> AsyncIterator[Prometheus]:
    """A replica that has joined its group and stays in it, and a Prometheus that scrapes it."""
    (port,) = free_ports(1)
    system.start(HTTP__PORT=str(port), KAFKA__SESSION_TIMEOUT_SECONDS="30", **settings)
    await system.until_ready()
    folder = system.folder / "prometheus"
    folder.mkdir()
    async with running_prometheus(folder, [port], seconds_of_minute) as prometheus:
        yield prometheus


async def test_every_panel_has_data_in_its_unit_under_load(system: SystemUnderTest) -> None:
    """And none shows NaN, under load or at rest."""
    async with scraped(system) as prometheus:
        async with load(system):
            await asyncio.sleep(LOAD_SECONDS)
            found = await shown(prometheus, ROWS)
        assert_in_their_units(found)
        assert without_data(found) == set()
        assert without_movement(found) <= ONLY_IN_TROUBLE | AT_MOMENTS
        (memory,) = [series for query, series in found.items() if query.title == "Memory"]
        assert [one["metric"]["namespace"] for one in memory] == [NAMESPACE]

        await asyncio.sleep(REST_SECONDS)
        assert_no_nan(await shown(prometheus, ROWS))


async def test_alerts_fire_in_trouble_and_end_with_it(system: SystemUnderTest) -> None:
    """A minute of the rules is a second here."""
    faults = system.pim.faults
    async with scraped(system) as prometheus, load(system):
        faults.add(Fault(route="write", family="manuals", status=500, times=None))
        await prometheus.until_fires("AssetSyncFamilyFailing", "AssetSyncDeadLetters")
        faults.clear()
        await prometheus.until_ends("AssetSyncFamilyFailing")
        faults.add(Fault(route="any", status=429, retry_after="1", times=None))
        await prometheus.until_fires("AssetSyncThrottled")
        faults.clear()
        await prometheus.until_ends("AssetSyncThrottled")
        faults.add(Fault(route="any", status=503, times=None))
        await prometheus.until_fires("AssetSyncPimDown")
        faults.clear()
        await prometheus.until_ends("AssetSyncPimDown")
        secret, system.pim.tokens.client_secret = system.pim.tokens.client_secret, "another"
        system.pim.tokens.forget()
        await prometheus.until_fires("AssetSyncCredentialsRefused")
        system.pim.tokens.client_secret = secret
        await prometheus.until_ends("AssetSyncCredentialsRefused")
        port = await kill(system)
        await prometheus.until_fires("AssetSyncAbsent")
        system.start(HTTP__PORT=port)
        await prometheus.until_ends("AssetSyncAbsent")


async def test_at_rest_no_alert_fires(system: SystemUnderTest) -> None:
    async with scraped(system) as prometheus:
        await system.publish_events([_change(system, number) for number in (0, 2, 4)])
        await asyncio.sleep(REST_SECONDS)
        assert await prometheus.firing() == set()


# --- what is in its topics -------------------------------------------------------------------

OTHERS_PARTITION, OLD_PARTITION, OWN_PARTITION = 0, 1, 2
DELETES_MAX = 5
DEAD_LETTER_BYTES_MAX = 10_000
OLD_SECONDS = 300


async def test_alerts_fire_for_what_is_in_its_topics(system: SystemUnderTest) -> None:
    """An open transaction, old events, many deletes, and dead letters: too large, and too many."""
    await limit_dead_letters(system)
    async with (
        scraped(system, DELETES_MAX_PER_HOUR=str(DELETES_MAX)) as prometheus,
        open_transaction(system),
        repeated(lambda _: publish_old_events(system)),
    ):
        await system.publish([(OWN_PARTITION, None, b"{" * 2 * DEAD_LETTER_BYTES_MAX)])
        await prometheus.until_fires("AssetSyncDeadLettersTruncated")
        await upsert_and_delete(system, 2 * DELETES_MAX)
        await prometheus.until_fires(
            "AssetSyncOpenTransaction", "AssetSyncDeleteCeiling", "AssetSyncSlow"
        )
        await system.publish(
            [(OWN_PARTITION, None, upsert(f"unknown{n % 2}", f"a{n}", {})) for n in range(1500)]
        )
        await prometheus.until_fires("AssetSyncDeadLetterLimit")


async def limit_dead_letters(system: SystemUnderTest) -> None:
    """Let the broker refuse dead letters that are as large as their events."""
    limit = {"max.message.bytes": str(DEAD_LETTER_BYTES_MAX)}
    async with admin_of(system.bootstrap) as admin:
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, system.dead_letters, limit)]
        )


@asynccontextmanager
async def open_transaction(system: SystemUnderTest) -> AsyncIterator[None]:
    """Another producer's transaction, with records after it that nobody can read yet."""
    producer = AIOKafkaProducer(
        bootstrap_servers=system.bootstrap,
        transactional_id=system.suffix,
        transaction_timeout_ms=900_000,  # the most that the broker allows
    )
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(system.events, b"{}", partition=OTHERS_PARTITION)
    await system.publish([(OTHERS_PARTITION, None, b"{}")])
    yield
    await producer.abort_transaction()
    await producer.stop()


async def publish_old_events(system: SystemUnderTest) -> None:
    """Publish changes whose producer wrote them minutes ago, by their timestamps."""
    at_ms = round((time.time() - OLD_SECONDS) * 1000)
    async with AIOKafkaProducer(bootstrap_servers=system.bootstrap) as producer:
        for number in range(20):
            event = upsert("manuals", f"old{number}", {"n": "1"})
            await producer.send(system.events, event, partition=OLD_PARTITION, timestamp_ms=at_ms)


async def upsert_and_delete(system: SystemUnderTest, count: int) -> None:
    """Let the PIM have so many assets, and then delete them all."""
    codes = [f"gone{number}" for number in range(count)]
    upserts = [upsert("packshots", code, {"n": "1"}) for code in codes]
    await system.publish([(OWN_PARTITION, None, event) for event in upserts])
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while ("packshots", codes[-1]) not in system.pim.state:  # noqa: ASYNC110 - the PIM's state
            await asyncio.sleep(LOOK_SECONDS)
    deletes = [{"action": "delete", "asset_family": "packshots", "code": code} for code in codes]
    await system.publish([(OWN_PARTITION, None, json.dumps(one).encode()) for one in deletes])


async def test_alerts_fire_for_what_is_held_up(system: SystemUnderTest) -> None:
    """One asset is never answered; then more than 50,000 changes wait for the PIM."""
    system.pim.faults.add(Fault(asset="stuck", hang=True, times=None))
    async with scraped(system) as prometheus:
        await system.publish([(OWN_PARTITION, None, upsert("packshots", "stuck", {}))])
        await publish_many(system, 17_000)
        await prometheus.until_fires("AssetSyncPartitionHeldUp")
        system.pim.go_down()
        await publish_many(system, 52_000)
        await prometheus.until_fires("AssetSyncBacklog")


async def publish_many(system: SystemUnderTest, count: int) -> None:
    """Publish changes of a few assets, all in one partition."""
    changes = (upsert("manuals", f"a{number % 30}", {"n": "1"}) for number in range(count))
    await system.publish([(OWN_PARTITION, None, change) for change in changes])


async def test_alerts_fire_for_positions_that_do_not_hold_and_restarts(
    system: SystemUnderTest,
) -> None:
    """A position without its records, one that was moved with its map, and kill upon kill.

    A minute of the rules is some seconds here: starting takes a while on a busy machine.
    """
    moved, deleted = (TopicPartition(system.events, number) for number in (0, 1))
    await system.publish([(number % 2, None, b"{}") for number in range(200)])
    map_of_another = offset_map.encode(0, offset_map.bitmap(0, frozenset({2})))
    await system.commit(
        {moved: OffsetAndMetadata(50, map_of_another), deleted: OffsetAndMetadata(10, "")}
    )
    async with admin_of(system.bootstrap) as admin:
        await admin.delete_records({deleted: RecordsToDelete(before_offset=50)})
    async with scraped(system, seconds_of_minute=5) as prometheus:
        await prometheus.until_fires("AssetSyncPositionLost", "AssetSyncOffsetMapUnused")
        async with repeated(lambda _: start_again(system)):
            await prometheus.until_fires("AssetSyncRestarting")


async def start_again(system: SystemUnderTest) -> None:
    """Kill the replica, and start one at its port, long enough for Prometheus to see it."""
    system.start(HTTP__PORT=await kill(system))
    await system.url(-1)
    await asyncio.sleep(2 * SCRAPE_SECONDS)


async def kill(system: SystemUnderTest) -> str:
    """Kill the newest replica; return its port."""
    port = (await system.url(-1)).rpartition(":")[2]
    system.replicas[-1].kill()
    await asyncio.to_thread(system.replicas[-1].wait)
    return port
