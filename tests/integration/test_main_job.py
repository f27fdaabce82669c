"""The main job on real Kafka, with the service as a separate process."""

import asyncio
import json
import signal
from collections import Counter
from typing import Any

import pytest

from tests.support.service import Bench

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


def upsert(family: str, code: str, number: int) -> bytes:
    """A plain event that sets one value."""
    event = {"action": "upsert", "asset_family": family, "code": code, "values": {"n": number}}
    return json.dumps(event).encode()


def events(count: int, assets: int, partitions: int) -> list[tuple[int, bytes, bytes | None]]:
    """Upserts of a few assets, every tenth a tombstone, every fiftieth broken."""
    made: list[tuple[int, bytes, bytes | None]] = []
    for number in range(count):
        asset = number % assets
        family = "packshots" if asset % 2 else "manuals"
        code = f"a{asset}"
        value: bytes | None = upsert(family, code, number)
        if number % 50 == 7:
            value = b"{broken"
        elif number % 10 == 3:
            value = None
        made.append((asset % partitions, f"{family}/{code}".encode(), value))
    return made


async def assert_exactly_once(bench: Bench, count: int) -> list[dict[str, Any]]:
    """Every record has one outcome, and the PIM is the replay of what was applied."""
    outcomes = await bench.outcome_data(count)
    ids = Counter(outcome["id"] for outcome in outcomes)
    assert [id_ for id_, times in ids.items() if times > 1] == [], bench.logs()[-3000:]
    assert len(ids) == count, bench.logs()[-5000:]
    replay: dict[tuple[str, str], object] = {}
    data = sorted(
        (outcome["data"] for outcome in outcomes), key=lambda found: found["origin"]["offset"]
    )
    for found in data:
        asset = (found["asset_family"], found["code"])
        if found["status"] == "applied" and found["action"] == "delete":
            replay.pop(asset, None)
        elif found["status"] == "applied":
            replay[asset] = True
    assert set(replay) == set(bench.pim.assets)
    return outcomes


async def test_every_change_gets_one_outcome(bench: Bench) -> None:
    """Events in, assets in the PIM, outcomes out; SIGTERM drains and exits 0."""
    records = events(600, 40, bench.partitions)
    await bench.publish(list(records))
    replica = bench.start()

    outcomes = await assert_exactly_once(bench, len(records))
    replica.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(replica.wait, 30)

    assert code == 0, bench.logs()[-3000:]
    assert {"applied", "rejected"} <= {outcome["data"]["status"] for outcome in outcomes}
    broken = [record for record in records if record[2] == b"{broken"]
    dead = await bench.read(bench.dead, len(broken))
    assert Counter((key, value) for key, value, _ in dead) == Counter(
        (key, value) for _, key, value in broken
    )


async def test_a_kill_in_the_middle_repeats_and_loses_nothing(bench: Bench) -> None:
    """Kill -9 while windows are open and calls in flight; a new replica goes on."""
    bench.pim.call_seconds = 0.05
    records = events(2000, 60, bench.partitions)
    await bench.publish(list(records))
    first = bench.start()
    await bench.outcome_data(200)
    first.kill()
    first.wait()
    bench.start()

    await assert_exactly_once(bench, len(records))


async def test_a_pim_outage_costs_nothing(bench: Bench) -> None:
    """While the PIM is down everything waits; nothing fails."""
    bench.pim.is_down = True
    records = events(200, 30, bench.partitions)
    await bench.publish(list(records))
    bench.start()
    await asyncio.sleep(5)
    bench.pim.is_down = False

    outcomes = await assert_exactly_once(bench, len(records))

    assert not [o for o in outcomes if o["data"]["status"] == "failed"]
