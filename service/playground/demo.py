"""The whole system on this machine: broker, PIM, three programs, events, and two kill -9.

Everything is real but the PIM: events go through Apache Kafka into the simulator over HTTP, and
the outcomes are checked against the simulator's state. Most events are in the shape of asset-sync;
the others are in the words of three DAMs, and go through `ingress` and `translate`.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from service.playground.audit import Audit, ItemAudit, audit, audit_items
from service.playground.dam import believable_events
from service.playground.embedded_kafka import embedded_kafka
from service.playground.local_system import (
    LocalSystem,
    LoggedProcess,
    Stored,
    address,
    decoded,
    variables,
)
from service.playground.pim.server import served
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample
from service.playground.raw_traffic import send_raw_events
from service.playground.three_dams import (
    SECRET,
    SECRET_NAME,
    SOURCES_FILE,
    TOPICS,
    items_of,
    raw_events,
)

PARTITIONS = 6
SECONDS_MAX = 120.0
CALL_SECONDS = 0.04
STOP_SECONDS_MAX = 30.0
REPORT_SECONDS = 0.5
RAW_SHARE = 10
"""There is one raw event for so many events in the shape of asset-sync."""
RAW_EVENTS_MIN = 30
SETTINGS = {
    "KAFKA__SESSION_TIMEOUT_SECONDS": "3",
    "WINDOW__MAX_SECONDS": "0.5",
    "HTTP__STATUS_PAGE": "true",
    "LOG__FORMAT": "json",
    "SOURCES_FILE": "sources.yaml",
    "MEDIA__PRIVATE_HOSTS": "localhost",
    "MEDIA__DIR": "media",
    "INGRESS__HOST": "127.0.0.1",
    "INGRESS__PORT": "0",
    "CONSOLE__HOST": "127.0.0.1",
    "CONSOLE__PORT": "0",
    f"SECRET__{SECRET_NAME.upper()}": SECRET,
}
COMMANDS_NEED = ("KAFKA__BOOTSTRAP_SERVERS", "PIM__")
"""How the settings begin without which commands find neither Kafka nor the PIM."""


@dataclass(frozen=True)
class Progress:
    """Callbacks for what happens, and for how many of all outcomes are written."""

    say: Callable[[str], None]
    count: Callable[[int, int], None] = lambda _done, _all: None


@dataclass(frozen=True)
class DemoResult:
    """The audits of a demo, and what it took."""

    audit: Audit
    items: ItemAudit
    pim_calls: int
    seconds: float

    @property
    def flaws(self) -> list[str]:
        """What does not add up, in sentences."""
        return [*self.audit.flaws, *self.items.flaws]


@dataclass(frozen=True)
class Addresses:
    """The addresses of a demo that stays up."""

    kafka: str
    pim: str
    service: str
    service_log: Path
    console: str
    environ: Mapping[str, str]
    """The variables by which commands find Kafka and the PIM."""


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
    more_topics = tuple(TOPICS.values())
    async with served(pim) as url:
        progress.say(f"PIM simulator listens on {url}")
        async with LocalSystem(
            bootstrap, url, pim.tokens, folder, PARTITIONS, suffix="", more_topics=more_topics
        ) as system:
            items, outcomes = await _kill_twice(system, count, progress)
            found = audit(await _events(system), _of_run(outcomes), pim.state)
            result = DemoResult(
                found, audit_items(items, outcomes), pim.writes, time.monotonic() - began
            )
            if keep is not None:
                await _stay(system, result, keep)
            for replica in system.replicas:
                if replica.poll() is None:
                    await asyncio.to_thread(replica.stop, STOP_SECONDS_MAX)
        return result


async def _kill_twice(
    system: LocalSystem, count: int, progress: Progress
) -> tuple[int, list[dict[str, Any]]]:
    """Let the programs work, kill two in the middle, start them again.

    Returns:
        How many items the raw events have, and all outcomes.
    """
    raw = raw_events(max(RAW_EVENTS_MIN, count // RAW_SHARE))
    whole = count + items_of(raw)
    read = _reader(system, whole, progress)
    (system.folder / SETTINGS["SOURCES_FILE"]).write_text(SOURCES_FILE)
    await system.publish_events(believable_events(count))
    progress.say(f"{count} events published; run, translate and ingress start")
    ingress = system.start_program("ingress", **SETTINGS)
    replicas = _start(system)
    sending = asyncio.create_task(send_raw_events(system, ingress, raw))
    await read(whole // 3, quiet_seconds=0)
    for replica in replicas:
        replica.kill()
        replica.wait()
    progress.say("kill -9 of run and translate in the middle of the work; starting them again")
    _start(system)
    await sending
    return items_of(raw), decoded(await read(whole))


def _start(system: LocalSystem) -> tuple[LoggedProcess, LoggedProcess]:
    return system.start_program("translate", **SETTINGS), system.start(**SETTINGS)


def _reader(
    system: LocalSystem, whole: int, progress: Progress
) -> Callable[..., Awaitable[list[Stored]]]:
    """Return a reader of the outcomes that reports its progress now and then."""
    reported_at = 0.0

    def report(done: int) -> None:
        nonlocal reported_at
        if done >= whole or time.monotonic() - reported_at >= REPORT_SECONDS:
            reported_at = time.monotonic()
            progress.count(done, whole)

    return partial(system.read, system.outcomes, seconds=SECONDS_MAX, progress=report)


def _of_run(outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [outcome for outcome in outcomes if outcome["data"]["mapping"] is None]


async def _events(system: LocalSystem) -> dict[tuple[int, int], bytes | None]:
    """Return the events, those that translate wrote included, by (partition, offset)."""
    records = await system.records(system.events, len(system.published))
    return {(record.partition, record.offset): record.value for record in records}


async def _stay(system: LocalSystem, result: DemoResult, keep: Keep) -> None:
    """Report the addresses, and wait for SIGINT or SIGTERM, whatever stdin is."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    run = system.replicas[-1]
    service = await _url(run, "http.listening")
    place = service.removeprefix("http://")
    own = {"CONSOLE__DIR": str(system.folder / "console"), "CONSOLE__REPLICAS": place}
    console = system.start_program("console", **SETTINGS, **own)
    pages = await _url(console, "console.listening")
    settings = system.settings().items()
    needed = {name: value for name, value in settings if name.startswith(COMMANDS_NEED)}
    keep(
        result,
        Addresses(system.bootstrap, system.pim_url, service, run.log, pages, variables(needed)),
    )
    await stopped.wait()


async def _url(replica: LoggedProcess, event: str) -> str:
    """Return the address of a replica's port, or where its log is if it does not listen."""
    try:
        return await address(replica, event)
    except TimeoutError:
        return f"(not listening yet, see {replica.log})"
