"""The main job on real Kafka, with the service as a separate process."""

import asyncio
import signal

import pytest

from tests.support.proof import assert_exactly_once, events
from tests.support.service import Bench

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


async def test_every_change_gets_one_outcome(bench: Bench) -> None:
    """Events in, assets in the PIM, outcomes out; SIGTERM drains and exits 0."""
    records = events(600, 40, bench.partitions)
    await bench.publish(records)
    replica = bench.start()

    outcomes = await assert_exactly_once(bench, len(records))
    replica.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(replica.wait, 30)

    assert code == 0, bench.logs()[-3000:]
    assert {"applied", "rejected"} <= {outcome["data"]["status"] for outcome in outcomes}


async def test_a_kill_in_the_middle_repeats_and_loses_nothing(bench: Bench) -> None:
    """Kill -9 while windows are open and calls in flight; a new replica goes on."""
    bench.pim.call_seconds = 0.05
    records = events(2000, 60, bench.partitions)
    first = await bench.publish_and_start(records)
    first.kill()
    first.wait()
    bench.start()

    await assert_exactly_once(bench, len(records))


@pytest.mark.parametrize("moment", ["begun", "sent", "offsets", "committed"])
async def test_a_kill_inside_a_transaction(bench: Bench, moment: str) -> None:
    """The replica dies exactly between the steps of its third transaction."""
    records = events(900, 60, bench.partitions)
    await bench.publish(records)
    doomed = bench.start_doomed(moment)
    await asyncio.to_thread(doomed.wait, 60)
    assert doomed.returncode == -signal.SIGKILL, bench.logs()[-3000:]
    bench.start()

    await assert_exactly_once(bench, len(records))


async def test_a_pim_outage_costs_nothing(bench: Bench) -> None:
    """While the PIM is down everything waits; nothing fails."""
    bench.pim.go_down()
    records = events(200, 30, bench.partitions)
    await bench.publish(records)
    bench.start()
    await bench.until_waiting("pim")
    bench.pim.come_back()

    outcomes = await assert_exactly_once(bench, len(records))

    assert not [o for o in outcomes if o["data"]["status"] == "failed"]
