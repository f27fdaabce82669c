"""The broker goes away and comes back, on a broker that no other test uses then."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.playground.embedded_kafka import EmbeddedKafka
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support.proof import assert_exactly_once, events
from tests.support.service import SystemUnderTest, system_around

pytestmark = [pytest.mark.kafka, pytest.mark.processes, pytest.mark.xdist_group("broker")]


@pytest.fixture
async def system(own_broker: EmbeddedKafka, tmp_path: Path) -> AsyncIterator[SystemUnderTest]:
    """The system around it."""
    pim = PimSimulator(free("packshots", "manuals"), call_seconds=0.05)
    async with system_around(own_broker.bootstrap_servers, tmp_path, pim) as made:
        yield made


def assert_it_ended_rightly(system: SystemUnderTest) -> None:
    """A replica ends in an outage only where a restart alone can read what a commit came to."""
    ends = [replica.returncode for replica in system.replicas if replica.poll() is not None]
    assert ends == [1] * system.logs().count('"service.ended"'), system.logs()[-3000:]
    reasons = system.logs().count("nly a restart can read whether it was committed")
    assert len(ends) == reasons, system.logs()[-3000:]
    assert "Traceback" not in system.logs()


@pytest.mark.parametrize("away_seconds", [0, 8, 35])
async def test_a_killed_broker_comes_back(
    own_broker: EmbeddedKafka, system: SystemUnderTest, away_seconds: float
) -> None:
    """Kill -9 of the broker in the middle of the work, for all that a transaction may take.

    The replica waits; it may end with 1 where it cannot know whether its last transaction was
    committed. What restarts it then is Kubernetes, here the test.
    """
    records = events(3000, 90, system.partitions)
    replica = await system.publish_and_start(records)
    own_broker.kill()
    await asyncio.sleep(away_seconds)
    await asyncio.to_thread(own_broker.start)
    restarting = asyncio.ensure_future(system.keep_running(replica))
    try:
        await assert_exactly_once(system, len(records), seconds=90)
    finally:
        restarting.cancel()
    assert_it_ended_rightly(system)


async def until(system: SystemUnderTest, path: str, status: int, seconds: float) -> str:
    """What the replica's port answers, once it has this status."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found, text = await system.get(path)
        if found == status:
            return text
        assert asyncio.get_running_loop().time() < deadline, (found, text)
        await asyncio.sleep(0.2)


async def test_an_idle_replica_waits_and_says_for_what(
    own_broker: EmbeddedKafka, system: SystemUnderTest
) -> None:
    """`/readyz` names the brokers within seconds; `/livez` stays well; then work goes on."""
    records = events(30, 10, system.partitions)
    replica = system.start()
    await until(system, "/readyz", 200, 30)
    own_broker.kill()

    unready = await until(system, "/readyz?verbose", 503, 15)
    assert f"Kafka at {system.bootstrap} does not answer" in unready
    assert (await system.get("/livez"))[0] == 200

    await asyncio.to_thread(own_broker.start)
    await until(system, "/readyz", 200, 60)
    await system.publish(records)
    await assert_exactly_once(system, len(records), seconds=60)
    assert replica.poll() is None
    lines = [json.loads(line)["event"] for line in system.logs().splitlines() if line[:1] == "{"]
    assert lines.count("kafka.unreachable") == lines.count("kafka.reachable") == 1


async def until_logged(system: SystemUnderTest, words: str, seconds: float = 60) -> None:
    """Wait until a replica has said this."""
    deadline = asyncio.get_running_loop().time() + seconds
    while words not in system.logs():
        assert asyncio.get_running_loop().time() < deadline, system.logs()[-3000:]
        await asyncio.sleep(0.1)


def left(system: SystemUnderTest) -> int:
    """How many changes a replica that drained has left to the next owner."""
    drained = next(line for line in system.logs().splitlines() if '"service.drained"' in line)
    return int(json.loads(drained)["left_to_the_next_owner"])


@pytest.mark.parametrize("is_broker_away", [False, True])
async def test_a_stop_while_nothing_can_be_finished(
    own_broker: EmbeddedKafka, system: SystemUnderTest, *, is_broker_away: bool
) -> None:
    """The PIM is down, perhaps Kafka too: it ends in order; the next owner does the rest."""
    records = events(300, 90, system.partitions)
    system.pim.go_down()
    await system.publish(records)
    replica = system.start()
    await until_logged(system, '"breaker.opened"')
    if is_broker_away:
        own_broker.kill()
        await until_logged(system, '"kafka.unreachable"')
    replica.send_signal(signal.SIGTERM)

    code = await asyncio.to_thread(replica.wait, 60)

    assert code == system.logs().count('"commit.in_doubt"'), system.logs()[-3000:]
    assert is_broker_away or code == 0
    assert left(system) > 0
    system.pim.come_back()
    if is_broker_away:
        await asyncio.to_thread(own_broker.start)
    system.start()
    await assert_exactly_once(system, len(records), seconds=90)
