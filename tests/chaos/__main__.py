"""`make chaos`: load and faults for a time, then recovery and the verdict; exit 1 on any flaw."""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from service.adapters.kafka.options import quieten_aiokafka
from service.playground.dam import believable_events
from service.playground.local_system import Event
from tests.chaos.auditor import Verdict, judge
from tests.chaos.files import with_file
from tests.chaos.plan import Incident, plan
from tests.chaos.system import SETTINGS, ChaosSystem, chaos_system
from tests.chaos.topic_reader import TopicReader
from tests.support.collector import collector

RECOVERY_SECONDS_MAX = 240.0
STEP_SECONDS = 0.1
SCRAPE_SECONDS = 5.0


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="seconds of load and faults (120)"
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="seed of the faults (from the clock)"
    )
    parser.add_argument(
        "--replicas", type=int, default=3, choices=range(1, 5), help="number of replicas (3)"
    )
    parser.add_argument("--rate", type=float, default=300.0, help="events a second (300)")
    parser.add_argument("--calm", action="store_true", help="a soak test: no faults, with traces")
    parser.add_argument("--log", type=Path, help="a file for the logs of the replicas")
    wanted = parser.parse_args()
    quieten_aiokafka(entirely=True)
    seed = wanted.seed if wanted.seed is not None else int(time.time())
    return asyncio.run(_run(wanted, seed))


async def _run(wanted: argparse.Namespace, seed: int) -> int:
    _say(f"seed {seed}: {wanted.seconds:g} s, {wanted.replicas} replicas, {wanted.rate:g} events/s")
    incidents = [] if wanted.calm else plan(seed, wanted.seconds, wanted.replicas)
    async with chaos_system(wanted.replicas) as system, collector() as traces:
        more = {"TRACES__ENDPOINT": traces.url} if wanted.calm else {}
        keeping = asyncio.ensure_future(system.keep_hosts_running(**more))
        watching = asyncio.ensure_future(system.watch_calls())
        scraping = asyncio.ensure_future(_scrape(system))
        loading = asyncio.ensure_future(_load(system, wanted.rate, wanted.seconds))
        began = time.monotonic()
        await asyncio.gather(*(_suffer(system, incident, began) for incident in incidents))
        written = await loading
        system.pim.faults.clear()
        _say(f"{written} events written; all faults are over")
        topics = Topics(system)
        seconds = await _until_complete(topics)
        ending = f"{seconds:.0f} s later" if seconds else "not in time"
        _say(f"every event has an outcome: {ending}")
        keeping.cancel()
        scraping.cancel()
        watching.cancel()
        exits = await system.stop()
        verdict = await _verdict(system, topics, exits)
        if wanted.log:
            wanted.log.write_text(system.logs())
        elif verdict.flaws:
            _say(system.logs()[-20_000:])
    _print(verdict, incidents, system)
    if wanted.calm:
        _say(f"  {'spans received':<32} {traces.spans}")
    return 1 if verdict.flaws else 0


async def _suffer(system: ChaosSystem, incident: Incident, began: float) -> None:
    await asyncio.sleep(max(0.0, began + incident.at - time.monotonic()))
    _say(
        f"{incident.at:6.1f} s  {incident.kind:<15} replica {incident.replica}, "
        f"{incident.seconds:.1f} s"
    )
    await system.suffer(incident)


async def _load(system: ChaosSystem, rate: float, seconds: float) -> int:
    """Write events at this rate, wait while the broker is down; return how many were written."""
    events = _events(system.files.url)
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


def _events(files_url: str) -> Iterator[Event]:
    """Yield a DAM's events without end, for the same thousand assets; some name files."""
    events = cycle(believable_events(4000))
    for number, event in enumerate(events):
        yield with_file(event, number, files_url)


async def _scrape(system: ChaosSystem) -> None:
    """Read every replica's metrics periodically, as Prometheus does."""
    while True:
        for number, replica in enumerate(system.replicas):
            if replica.poll() is None:
                with contextlib.suppress(OSError, aiohttp.ClientError, TimeoutError):
                    await asyncio.wait_for(system.get("/metrics", number), SCRAPE_SECONDS)
        await asyncio.sleep(SCRAPE_SECONDS)


async def _until_complete(topics: "Topics") -> float | None:
    """Wait until every event has an outcome; return how long that took, or None."""
    began = time.monotonic()
    while time.monotonic() - began < RECOVERY_SECONDS_MAX:
        with contextlib.suppress(KafkaError, OSError):
            if await topics.events.catch_up() == await topics.outcomes.catch_up():
                return max(time.monotonic() - began, 0.1)
        await asyncio.sleep(1.0)
    return None


class Topics:
    """The readers of the three topics."""

    def __init__(self, system: ChaosSystem) -> None:
        self.events = TopicReader(system, system.events)
        self.outcomes = TopicReader(system, system.outcomes)
        self.dead_letters = TopicReader(system, system.dead_letters)


async def _verdict(system: ChaosSystem, topics: Topics, exits: list[int]) -> Verdict:
    for reader in (topics.events, topics.outcomes, topics.dead_letters):
        await reader.catch_up()
    found = sorted(topics.outcomes.found.items())
    outcomes = [json.loads(value or b"") for _, (_, value, _) in found]
    values = {record_id: (key, value) for record_id, (key, value, _) in topics.events.found.items()}
    dead_letters = list(topics.dead_letters.found.values())
    return judge(system, values, outcomes, dead_letters, exits)


def _print(verdict: Verdict, incidents: list[Incident], system: ChaosSystem) -> None:
    kinds = Counter(incident.kind for incident in incidents)
    rows = {
        "events": verdict.events,
        **{f"outcomes {status}": number for status, number in sorted(verdict.statuses.items())},
        "faults": f"{len(incidents)} of {len(kinds)} kinds",
        "processes started": sum(host.starts for host in system.hosts),
        "that ended by themselves": len(system.exits),
        "calls to the PIM": system.pim.writes,
        "uploads": system.pim.counts["upload"],
        "calls at once, at most": system.calls_at_once,
        "also frozen and cancelled ones": system.pim.at_once_seen,
        "memory of a replica, at most": f"{verdict.memory_max_bytes / 2**20:.0f} MiB",
        "its slope": ", ".join(f"{slope / 2**10:+.0f} KiB/min" for slope in verdict.memory_slopes),
        "changes that may be pending": SETTINGS["PIPELINE__MAX_PENDING_CHANGES"],
    }
    for name, content in rows.items():
        _say(f"  {name:<32} {content}")
    for flaw in verdict.flaws:
        _say(f"  FLAW {flaw}")
    _say("every promise held" if not verdict.flaws else "promises were broken")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the output of the command


if __name__ == "__main__":
    sys.exit(main())
