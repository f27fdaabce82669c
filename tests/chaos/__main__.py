"""`make chaos`: load and faults for a time, then healing, then the verdict; exit 1 on any flaw."""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from service.adapters.kafka.options import quieten_aiokafka
from service.playground.dam import believable_events
from tests.chaos.auditor import Verdict, judge
from tests.chaos.plan import Incident, plan
from tests.chaos.reading import Reading
from tests.chaos.stage import SETTINGS, Stage, stage
from tests.support.collector import collector
from tests.support.service import SystemUnderTest

HEAL_SECONDS_MAX = 240.0
STEP_SECONDS = 0.1
SCRAPE_SECONDS = 5.0


def main() -> int:
    """Run as the command line asks."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long faults go on (120)")
    parser.add_argument("--seed", type=int, default=None, help="which faults (by the clock)")
    parser.add_argument("--replicas", type=int, default=3, choices=range(1, 5), help="(3)")
    parser.add_argument("--rate", type=float, default=300.0, help="events a second (300)")
    parser.add_argument("--calm", action="store_true", help="a soak: no faults, with traces")
    parser.add_argument("--log", type=Path, help="a file for what the replicas said")
    wanted = parser.parse_args()
    quieten_aiokafka(entirely=True)
    seed = wanted.seed if wanted.seed is not None else int(time.time())
    return asyncio.run(_run(wanted, seed))


async def _run(wanted: argparse.Namespace, seed: int) -> int:
    _say(f"seed {seed}: {wanted.seconds:g} s, {wanted.replicas} replicas, {wanted.rate:g} events/s")
    incidents = [] if wanted.calm else plan(seed, wanted.seconds, wanted.replicas)
    async with stage(wanted.replicas) as at, collector() as traces:
        more = {"TRACES__ENDPOINT": traces.url} if wanted.calm else {}
        keeping = asyncio.ensure_future(at.keep_running(**more))
        watching = asyncio.ensure_future(at.watch_calls())
        scraping = asyncio.ensure_future(_scrape(at))
        loading = asyncio.ensure_future(_load(at.system, wanted.rate, wanted.seconds))
        began = time.monotonic()
        await asyncio.gather(*(_suffer(at, incident, began) for incident in incidents))
        written = await loading
        at.system.pim.faults.clear()
        _say(f"{written} events written; everything is well again")
        told = Told(at.system)
        seconds = await _mark_recovered(told)
        _say(f"all settled {seconds:.0f} s later" if seconds else "not all is settled in time")
        keeping.cancel()
        scraping.cancel()
        watching.cancel()
        exits = await at.stop()
        verdict = await _verdict(at, told, exits)
        if wanted.log:
            wanted.log.write_text(at.system.logs())
        elif verdict.flaws:
            _say(at.system.logs()[-20_000:])
    _print(verdict, incidents, at)
    if wanted.calm:
        _say(f"  {'spans that came':<32} {traces.spans}")
    return 1 if verdict.flaws else 0


async def _suffer(at: Stage, incident: Incident, began: float) -> None:
    await asyncio.sleep(max(0.0, began + incident.at - time.monotonic()))
    _say(
        f"{incident.at:6.1f} s  {incident.kind:<15} replica {incident.replica}, "
        f"{incident.seconds:.1f} s"
    )
    await at.suffer(incident)


async def _load(system: SystemUnderTest, rate: float, seconds: float) -> int:
    """Events at this rate; a broker that is away is waited for."""
    events = _events()
    began = time.monotonic()
    number = 0
    while time.monotonic() - began < seconds:
        producer = AIOKafkaProducer(
            bootstrap_servers=system.bootstrap, enable_idempotence=True, request_timeout_ms=60_000
        )
        with contextlib.suppress(KafkaError, OSError):
            await producer.start()
            while time.monotonic() - began < seconds:
                while number < (time.monotonic() - began) * rate:
                    record = next(events)
                    headers = list(record.headers)
                    await producer.send(system.events, record.value, record.key, headers=headers)
                    number += 1
                await asyncio.sleep(STEP_SECONDS)
            await producer.flush()
        with contextlib.suppress(KafkaError, OSError):
            await producer.stop()
    return number


def _events() -> Iterator[Any]:
    """A DAM's events without end: some thousand assets, again and again."""
    for _ in count():
        yield from believable_events(4000)


async def _scrape(at: Stage) -> None:
    """Look at every replica's metrics again and again, as Prometheus does."""
    while True:
        for number, replica in enumerate(at.system.replicas):
            if replica.poll() is None:
                with contextlib.suppress(OSError, aiohttp.ClientError, TimeoutError):
                    await asyncio.wait_for(at.system.get("/metrics", number), SCRAPE_SECONDS)
        await asyncio.sleep(SCRAPE_SECONDS)


async def _mark_recovered(told: "Told") -> float | None:
    """Wait until every event has an outcome; how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < HEAL_SECONDS_MAX:
        with contextlib.suppress(KafkaError, OSError):
            if await told.events.catch_up() == await told.outcomes.catch_up():
                return max(time.monotonic() - began, 0.1)
        await asyncio.sleep(1.0)
    return None


class Told:
    """What stands in the three topics."""

    def __init__(self, system: SystemUnderTest) -> None:
        self.events = Reading(system, system.events)
        self.outcomes = Reading(system, system.outcomes)
        self.dead = Reading(system, system.dead_letters)


async def _verdict(at: Stage, told: Told, exits: list[int]) -> Verdict:
    for reading in (told.events, told.outcomes, told.dead):
        await reading.catch_up()
    found = sorted(told.outcomes.found.items())
    outcomes = [json.loads(value or b"") for _, (_, value, _) in found]
    values = {record_id: (key, value) for record_id, (key, value, _) in told.events.found.items()}
    return judge(at, values, outcomes, list(told.dead.found.values()), exits)


def _print(verdict: Verdict, incidents: list[Incident], at: Stage) -> None:
    kinds = Counter(incident.kind for incident in incidents)
    rows = {
        "events": verdict.events,
        **{f"outcomes {status}": number for status, number in sorted(verdict.statuses.items())},
        "faults": f"{len(incidents)} of {len(kinds)} kinds",
        "processes started": sum(replica.starts for replica in at.replicas),
        "that ended by themselves": len(at.exits),
        "calls to the PIM": at.system.pim.writes,
        "calls at once, at most": at.calls_at_once,
        "with sleepers' and given up ones": at.system.pim.at_once_seen,
        "memory of a replica, at most": f"{verdict.memory_max_bytes / 2**20:.0f} MiB",
        "its slope": ", ".join(f"{slope / 2**10:+.0f} KiB/min" for slope in verdict.memory_slopes),
        "changes that may be held": SETTINGS["PIPELINE__MAX_PENDING_CHANGES"],
    }
    for name, content in rows.items():
        _say(f"  {name:<32} {content}")
    for flaw in verdict.flaws:
        _say(f"  FLAW {flaw}")
    _say("every promise held" if not verdict.flaws else "promises were broken")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - it talks to a person


if __name__ == "__main__":
    sys.exit(main())
