"""The main job on real Kafka, with the service as a separate process."""

import asyncio
import signal

import pytest

from tests.support.proof import assert_exactly_once, events
from tests.support.service import SystemUnderTest

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


async def test_every_change_gets_one_outcome(system: SystemUnderTest) -> None:
    """Events in, assets in the PIM, outcomes out; SIGTERM drains and exits 0."""
    records = events(600, 40, system.partitions)
    await system.publish(records)
    replica = system.start()

    outcomes = await assert_exactly_once(system, len(records))
    replica.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(replica.wait, 30)

    assert code == 0, system.logs()[-3000:]
    assert {"applied", "rejected"} <= {outcome["data"]["status"] for outcome in outcomes}


async def test_a_kill_in_the_middle_repeats_and_loses_nothing(system: SystemUnderTest) -> None:
    """Kill -9 while windows are open and calls in flight; a new replica goes on."""
    system.pim.call_seconds = 0.05
    records = events(2000, 60, system.partitions)
    first = await system.publish_and_start(records)
    first.kill()
    first.wait()
    system.start()

    await assert_exactly_once(system, len(records))


@pytest.mark.parametrize("moment", ["begun", "sent", "offsets", "committed"])
async def test_a_kill_inside_a_transaction(system: SystemUnderTest, moment: str) -> None:
    """The replica dies exactly between the steps of its third transaction."""
    records = events(900, 60, system.partitions)
    await system.publish(records)
    doomed = system.start_doomed(moment)
    await asyncio.to_thread(doomed.wait, 60)
    assert doomed.returncode == -signal.SIGKILL, system.logs()[-3000:]
    system.start()

    await assert_exactly_once(system, len(records))


async def test_a_pim_outage_costs_nothing(system: SystemUnderTest) -> None:
    """While the PIM is down everything waits; nothing fails."""
    system.pim.go_down()
    records = events(200, 30, system.partitions)
    await system.publish(records)
    system.start()
    await system.until_waiting("pim")
    system.pim.come_back()

    outcomes = await assert_exactly_once(system, len(records))

    assert not [o for o in outcomes if o["data"]["status"] == "failed"]
