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

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from service.adapters.kafka.options import quieten_aiokafka
from service.playground.dam import believable_events
from tests.chaos.auditor import Place, Stored, Verdict, judge
from tests.chaos.plan import Incident, plan
from tests.chaos.stage import SETTINGS, Stage, stage
from tests.support.service import Bench

HEAL_SECONDS_MAX = 240.0
STEP_SECONDS = 0.1


def main() -> int:
    """Run as the command line asks."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long faults go on (120)")
    parser.add_argument("--seed", type=int, default=None, help="which faults (by the clock)")
    parser.add_argument("--replicas", type=int, default=3, choices=range(1, 5), help="(3)")
    parser.add_argument("--rate", type=float, default=300.0, help="events a second (300)")
    parser.add_argument("--calm", action="store_true", help="no faults: a soak")
    parser.add_argument("--log", type=Path, help="a file for what the replicas said")
    parser.add_argument("--traces", help="an OTLP endpoint that replicas trace to")
    wanted = parser.parse_args()
    quieten_aiokafka(entirely=True)
    seed = wanted.seed if wanted.seed is not None else int(time.time())
    return asyncio.run(_run(wanted, seed))


async def _run(wanted: argparse.Namespace, seed: int) -> int:
    _say(f"seed {seed}: {wanted.seconds:g} s, {wanted.replicas} replicas, {wanted.rate:g} events/s")
    incidents = [] if wanted.calm else plan(seed, wanted.seconds, wanted.replicas)
    more = {"TRACES__ENDPOINT": wanted.traces} if wanted.traces else {}
    async with stage(wanted.replicas) as at:
        keeping = asyncio.ensure_future(at.keep_running(**more))
        loading = asyncio.ensure_future(_load(at.bench, wanted.rate, wanted.seconds))
        began = time.monotonic()
        await asyncio.gather(*(_suffer(at, incident, began) for incident in incidents))
        written = await loading
        at.bench.pim.faults.clear()
        _say(f"{written} events written; everything is well again")
        seconds = await _heal(at)
        _say(f"all settled {seconds:.0f} s later" if seconds else "not all is settled in time")
        keeping.cancel()
        exits = await at.stop()
        verdict = await _verdict(at, exits)
        if wanted.log:
            wanted.log.write_text(at.bench.logs())
        elif verdict.flaws:
            _say(at.bench.logs()[-20_000:])
    _print(verdict, incidents, at)
    return 1 if verdict.flaws else 0


async def _suffer(at: Stage, incident: Incident, began: float) -> None:
    await asyncio.sleep(max(0.0, began + incident.at - time.monotonic()))
    _say(
        f"{incident.at:6.1f} s  {incident.kind:<15} replica {incident.replica}, "
        f"{incident.seconds:.1f} s"
    )
    await at.suffer(incident)


async def _load(bench: Bench, rate: float, seconds: float) -> int:
    """Events at this rate; a broker that is away is waited for."""
    events = _events()
    began = time.monotonic()
    number = 0
    while time.monotonic() - began < seconds:
        producer = AIOKafkaProducer(
            bootstrap_servers=bench.bootstrap, enable_idempotence=True, request_timeout_ms=60_000
        )
        with contextlib.suppress(KafkaError, OSError):
            await producer.start()
            while time.monotonic() - began < seconds:
                while number < (time.monotonic() - began) * rate:
                    record = next(events)
                    headers = list(record.headers)
                    await producer.send(bench.events, record.value, record.key, headers=headers)
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


async def _heal(at: Stage) -> float | None:
    """Wait until every event has an outcome; how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < HEAL_SECONDS_MAX:
        with contextlib.suppress(KafkaError, OSError):
            if await _unsettled(at) == 0:
                return max(time.monotonic() - began, 0.1)
        await asyncio.sleep(1.0)
    return None


async def _unsettled(at: Stage) -> int:
    """Events less outcomes, by what a committed reader sees."""
    return len(await _read(at.bench, at.bench.events)) - len(
        await _read(at.bench, at.bench.outcomes)
    )


async def _read(bench: Bench, topic: str) -> dict[Place, Stored]:
    """Every committed record, by its place."""
    async with bench.reader(topic) as consumer:
        places = consumer.assignment()
        ends = await consumer.end_offsets(places)
        found: dict[Place, Stored] = {}
        while not all([await consumer.position(p) >= ends[p] for p in places]):
            for place, records in (await consumer.getmany(timeout_ms=500)).items():
                for one in records:
                    found[place.partition, one.offset] = (one.key, one.value, dict(one.headers))
        return found


async def _verdict(at: Stage, exits: list[int]) -> Verdict:
    events = await _read(at.bench, at.bench.events)
    outcomes = await _read(at.bench, at.bench.outcomes)
    dead = await _read(at.bench, at.bench.dead)
    told = [json.loads(value or b"") for _, (_, value, _) in sorted(outcomes.items())]
    values = {place: (key, value) for place, (key, value, _) in events.items()}
    return judge(at, values, told, list(dead.values()), exits)


def _print(verdict: Verdict, incidents: list[Incident], at: Stage) -> None:
    kinds = Counter(incident.kind for incident in incidents)
    rows = {
        "events": verdict.events,
        **{f"outcomes {status}": number for status, number in sorted(verdict.statuses.items())},
        "faults": f"{len(incidents)} of {len(kinds)} kinds",
        "processes started": sum(replica.starts for replica in at.replicas),
        "that ended by themselves": len(at.exits),
        "calls to the PIM": at.bench.pim.writes,
        "calls at once, at most": at.bench.pim.at_once_seen,
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
