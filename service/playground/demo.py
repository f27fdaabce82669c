"""The whole system on this machine: broker, PIM, service, events; the service is killed once.

Everything is real but the PIM: events go through Apache Kafka into the simulator over HTTP, and
the outcomes are checked against the simulator's state.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from service.playground.audit import Audit, audit
from service.playground.dam import believable_events
from service.playground.embedded_kafka import embedded_kafka
from service.playground.local_system import LocalSystem, decoded
from service.playground.pim.server import served
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample

PARTITIONS = 6
SECONDS_MAX = 120.0
CALL_SECONDS = 0.04
STOP_SECONDS_MAX = 30.0
REPORT_SECONDS = 0.5
SETTINGS = {
    "KAFKA__SESSION_TIMEOUT_SECONDS": "3",
    "WINDOW__MAX_SECONDS": "0.5",
    "HTTP__STATUS_PAGE": "true",
    "LOG__FORMAT": "json",
}


@dataclass(frozen=True)
class Progress:
    """Callbacks for what happens, and for how many of all outcomes are written."""

    say: Callable[[str], None]
    count: Callable[[int, int], None] = lambda _done, _all: None


@dataclass(frozen=True)
class DemoResult:
    """The audit of a demo, and what it took."""

    audit: Audit
    pim_calls: int
    seconds: float


@dataclass(frozen=True)
class Addresses:
    """The addresses of a demo that stays up."""

    kafka: str
    pim: str
    service: str
    service_log: Path


Keep = Callable[[DemoResult, Addresses], None]
"""Called when a demo that stays up has been checked."""


def run_demo(events: int, progress: Progress, keep: Keep | None = None) -> DemoResult:
    """Run the demo; with `keep`, call it and stay up until SIGINT or SIGTERM.

    Raises:
        EmbeddedKafkaError: the broker does not run on this machine.
    """
    with (
        embedded_kafka(progress.say) as broker,
        TemporaryDirectory(prefix="asset-sync-demo-") as folder,
    ):
        progress.say(f"Apache Kafka listens on {broker.bootstrap_servers}")
        return asyncio.run(_run(broker.bootstrap_servers, Path(folder), events, progress, keep))


async def _run(
    bootstrap: str, folder: Path, count: int, progress: Progress, keep: Keep | None
) -> DemoResult:
    began = time.monotonic()
    pim = PimSimulator(sample(), call_seconds=CALL_SECONDS)
    async with served(pim) as url:
        progress.say(f"PIM simulator listens on {url}")
        async with LocalSystem(bootstrap, url, pim.tokens, folder, PARTITIONS, suffix="") as system:
            outcomes = await _kill_once(system, count, progress)
            found = audit(system.values(), outcomes, pim.state)
            result = DemoResult(found, pim.writes, time.monotonic() - began)
            if keep is not None:
                await _stay(system, result, keep)
            await asyncio.to_thread(system.replicas[-1].stop, STOP_SECONDS_MAX)
        return result


async def _kill_once(system: LocalSystem, count: int, progress: Progress) -> list[dict[str, Any]]:
    """Let the service work, kill it in the middle, start it again; return all outcomes."""
    reported_at = 0.0

    def report(done: int) -> None:
        nonlocal reported_at
        if done >= count or time.monotonic() - reported_at >= REPORT_SECONDS:
            reported_at = time.monotonic()
            progress.count(done, count)

    read = partial(system.read, system.outcomes, seconds=SECONDS_MAX, progress=report)
    await system.publish_events(believable_events(count))
    progress.say(f"{count} events published; the service starts")
    replica = system.start(**SETTINGS)
    await read(count // 3, quiet_seconds=0)
    replica.kill()
    replica.wait()
    progress.say("kill -9 in the middle of the work; starting the service again")
    system.start(**SETTINGS)
    return decoded(await read(count))


async def _stay(system: LocalSystem, result: DemoResult, keep: Keep) -> None:
    """Report the addresses, and wait for SIGINT or SIGTERM, whatever stdin is."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    log = system.replicas[-1].log
    try:
        service = await system.url(-1)
    except TimeoutError:
        service = f"(not listening yet, see {log})"
    keep(result, Addresses(system.bootstrap, system.pim_url, service, log))
    await stopped.wait()
