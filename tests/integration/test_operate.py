"""What an operator sees of a running replica, and what he can do."""

import asyncio
import json
import re
import signal
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from service.adapters.telemetry.catalogue import CATALOGUE
from service.playground.pim.faults import Fault
from tests.support.proof import assert_exactly_once, events
from tests.support.service import Input, SystemUnderTest, aside

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


async def until(
    system: SystemUnderTest, path: str, is_so: Callable[[str], object], seconds: int = 120
) -> str:
    """What the port says once it is so."""
    text = ""
    for _ in range(seconds * 5):
        _, text = await system.get(path)
        if is_so(text):
            return text
        await asyncio.sleep(0.2)
    raise AssertionError(text)


async def test_probes_tell_idle_from_paused(system: SystemUnderTest) -> None:
    """Ready once it joined; idle, then waiting for a PIM that is down, then idle again."""
    system.start()
    await until(system, "/readyz", lambda text: text == "ok\n")
    idle = await until(system, "/livez?verbose", lambda text: text.count(" idle: ") == 3)
    assert "[+]progress ok" in idle

    system.pim.faults.add(Fault(route="any", status=503, times=None))
    await system.publish(events(60, 30, system.partitions))
    waiting = await until(system, "/livez?verbose", lambda text: "PIM unavailable" in text)
    assert "[+]progress ok" in waiting
    assert (await system.get("/livez"))[0] == 200
    assert (await system.get("/readyz"))[0] == 200
    assert 'asset_sync_waiting{reason="pim"} 1.0' in (await system.get("/metrics"))[1]

    system.pim.faults.clear()
    await assert_exactly_once(system, 60)
    await until(system, "/livez?verbose", lambda text: text.count(" idle: 0 to read") == 3)


async def test_metrics_of_a_replica_that_works(system: SystemUnderTest) -> None:
    """They add up with what was published; and every one is in the catalogue."""
    records = events(900, 90, system.partitions)
    await system.publish(records)
    system.start()
    await assert_exactly_once(system, len(records))
    _, text = await system.get("/metrics")

    found = {family.name: family for family in text_string_to_metric_families(text)}
    ours = {name for name in found if name.startswith("asset_sync_")}
    known = {metric.full_name.removesuffix("_total") for metric in CATALOGUE}
    assert ours == known
    outcomes = sum(sample.value for sample in found["asset_sync_outcomes"].samples)
    assert outcomes == len(records)
    ages = {sample.name: sample.value for sample in found["asset_sync_event_age_seconds"].samples}
    assert ages["asset_sync_event_age_seconds_count"] == len(records)
    assert not re.search(rf"{system.pim.tokens.password}|{system.pim.tokens.client_secret}", text)


async def test_control_records_are_no_lag(system: SystemUnderTest) -> None:
    """A DAM that writes in transactions leaves markers: they are nothing to read."""
    system.start()
    await until(system, "/readyz", lambda text: text == "ok\n")
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap, transactional_id=system.suffix)
    await producer.start()
    for _ in range(2):
        async with producer.transaction():
            await producer.send(system.events, b"{}", key=b"k", partition=0)
    await producer.stop()
    assert len(await system.outcome_data(2)) == 2
    await until(system, "/livez?verbose", lambda text: text.count(" idle: 0 to read") == 3)


def lag(text: str, name: str = "consumer_lag") -> int:
    """A gauge of `/metrics`, summed over partitions."""
    return int(sum(map(float, re.findall(rf"^asset_sync_{name}{{.*}} (.*)$", text, re.MULTILINE))))


async def test_the_lag_is_true_while_intake_is_paused(system: SystemUnderTest) -> None:
    """What comes in while nothing is read counts too; an outage is when somebody looks."""
    system.pim.faults.add(Fault(route="any", status=503, times=None))
    await system.publish(events(60, 60, system.partitions))
    system.start(PIPELINE__MAX_PENDING_CHANGES="20")
    await until(system, "/metrics", paused)
    await system.publish(events(600, 60, system.partitions))

    def is_true(text: str) -> bool:
        names = ("partition_pending_changes", "outcomes_total", "consumer_lag")
        return sum(lag(text, name) for name in names) == 660 and lag(text) >= 600

    await until(system, "/metrics", is_true)


def paused(text: str) -> bool:
    """Whether the intake of every partition is paused."""
    return "asset_sync_paused_partitions 3.0" in text


async def test_what_an_open_transaction_holds_is_shown(system: SystemUnderTest) -> None:
    """It is lag that this service can do nothing about, and no partition is stuck for it."""
    system.start()
    await until(system, "/readyz", lambda text: text == "ok\n")
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap, transactional_id=system.suffix)
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(system.events, b"{}", key=b"k", partition=0)
    await system.publish([(0, None, b"{}")] * 4)

    name = "records_behind_open_transaction"
    text = await until(system, "/metrics", lambda text: lag(text, name) == 5)
    assert lag(text) == 5
    assert (await system.get("/livez?verbose"))[1].count(" idle: 0 to read") == 3
    await producer.commit_transaction()
    await producer.stop()
    assert len(await system.outcome_data(5)) == 5
    await until(system, "/metrics", lambda text: lag(text, name) == lag(text) == 0)


def wrong(count: int) -> list[Input]:
    """Events of two families that the PIM does not know."""
    return [
        (number % 3, None, json.dumps({
            "action": "upsert", "asset_family": f"wrong{number % 2}", "code": f"c{number}",
            "values": {},
        }).encode())
        for number in range(count)
    ]  # fmt: skip


async def test_too_many_dead_letters_wait_for_a_person(system: SystemUnderTest) -> None:
    """More than half of the last 1,000, over two families: pause, say so, `release`, go on."""
    await system.publish(wrong(1500))
    replica = system.start(HTTP__STATUS_PAGE="true")
    told = await until(system, "/readyz?verbose", lambda text: "dead letters held back" in text)
    assert "`asset-sync release`" in told
    assert (await system.get("/readyz"))[0] == 200
    assert '"dead_letters.limit_reached"' in system.logs()
    # One family alone stops nobody: its 750 changes may all have ended before the other's first.
    settled = len(await system.read(system.outcomes, 1000, seconds=5))
    assert 0 < settled <= 750
    await until(system, "/metrics", lambda text: "asset_sync_dead_letter_limit_reached 1.0" in text)

    port = (await system.url()).rpartition(":")[2]
    for _ in range(10):
        released = await aside(system, "release", "--port", port)
        if released.returncode:
            assert b"Nothing is held back" in released.stderr
        else:
            assert b" dead letters, unknown_family" in released.stdout
        if len(await system.read(system.outcomes, 1500, seconds=3)) == 1500:
            break
    ids = [outcome["id"] for outcome in await system.outcome_data(1500)]
    assert len(ids) == len(set(ids)) == 1500
    replica.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(replica.wait, 30) == 0


async def test_a_restart_goes_on_as_a_release_does(system: SystemUnderTest) -> None:
    """What was held back comes again; SIGTERM does not wait for a person."""
    await system.publish(wrong(700))
    first = system.start()
    await until(system, "/readyz?verbose", lambda text: "dead letters held back" in text)
    first.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait, 15) == 0, "what is left waits for the next owner"
    system.start()
    ids = [outcome["id"] for outcome in await system.outcome_data(700)]
    assert len(ids) == len(set(ids)) == 700


async def test_too_many_deletes_wait_for_a_person(system: SystemUnderTest) -> None:
    """A mass of deletes stops at the ceiling; upserts go on, until `release` lets them go."""
    codes = [f"mass{number}" for number in range(30)]
    upserts: list[Input] = [
        (0, f"packshots/{code}".encode(), json.dumps({
            "action": "upsert", "asset_family": "packshots", "code": code, "values": {},
        }).encode())
        for code in codes
    ]  # fmt: skip
    await system.publish(upserts)
    replica = system.start(DELETES_MAX_PER_HOUR="10", HTTP__STATUS_PAGE="true")
    await system.read(system.outcomes, 30)
    deletes: list[Input] = [(0, f"packshots/{code}".encode(), None) for code in codes]
    await system.publish(deletes)
    told = "Deletes of packshots are held back (changes that wait: 20)"
    await until(system, "/readyz?verbose", lambda text: told in text)
    assert (await system.get("/readyz"))[0] == 200
    metrics = (await system.get("/metrics"))[1]
    assert "asset_sync_delete_ceiling_reached 1.0" in metrics
    assert "asset_sync_held_changes 20.0" in metrics
    assert '"deletes.ceiling_reached"' in system.logs()
    other = {"action": "upsert", "asset_family": "packshots", "code": "other", "values": {}}
    await system.publish([(1, b"packshots/other", json.dumps(other).encode())])
    await system.read(system.outcomes, 41)

    port = (await system.url()).rpartition(":")[2]
    released = await aside(system, "release", "--port", port)
    assert b"20 deletes of packshots: mass10, mass11," in released.stdout
    assert b"Resumed. 20 changes were held back" in released.stdout
    ids = [outcome["id"] for outcome in await system.outcome_data(61)]
    assert len(ids) == len(set(ids)) == 61
    replica.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(replica.wait, 30) == 0


async def test_release_without_a_service(system: SystemUnderTest) -> None:
    """Said in a sentence."""
    shown = await aside(system, "release", "--port", "9")
    assert shown.returncode == 1
    assert b"No asset-sync answers at http://127.0.0.1:9" in shown.stderr
    assert b"Traceback" not in shown.stderr
