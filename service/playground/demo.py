"""The whole system on this machine: broker, PIM, service, events; killed once in the middle.

Everything is real but the PIM: events go through Apache Kafka into the simulator over HTTP, and
the outcomes are checked against the simulator's state.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from service.adapters.kafka.tools.topics import read, write
from service.contracts.outcome_reader import read_outcome
from service.playground.audit import Audit, audit
from service.playground.dam import believable_events
from service.playground.embedded_kafka import EmbeddedKafka, die_with_parent, embedded_kafka
from service.playground.pim.server import serve
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample
from service.settings import KafkaSettings

PARTITIONS = 6
SECONDS_MAX = 120.0
CALL_SECONDS = 0.04
LOOK_SECONDS = 0.5
LISTENING_LOOKS_MAX = 60
"""Looks for the address of the service: it may have been started a moment ago."""
STOP_SECONDS_MAX = 30.0
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR", "VIRTUAL_ENV")
"""What the service inherits: no setting, no proxy of the caller."""


@dataclass(frozen=True)
class Progress:
    """Whom to tell: what happens, and how many outcomes of how many are there."""

    say: Callable[[str], None]
    count: Callable[[int, int], None] = lambda _done, _all: None


@dataclass(frozen=True)
class DemoResult:
    """What the demo saw."""

    audit: Audit
    pim_calls: int
    seconds: float


@dataclass(frozen=True)
class Addresses:
    """Where the parts of a demo that stays up can be reached."""

    kafka: str
    pim: str
    service: str
    service_log: Path


Keep = Callable[[DemoResult, Addresses], None]
"""Called when a demo that stays up has been checked."""


def run_demo(events: int, progress: Progress, keep: Keep | None = None) -> DemoResult:
    """Run the demo; with `keep`, call it and stay up until SIGINT or SIGTERM.

    Raises:
        EmbeddedKafkaError: the broker cannot be had here.
    """
    with (
        embedded_kafka(progress.say) as broker,
        TemporaryDirectory(prefix="asset-sync-demo-") as folder,
    ):
        progress.say(f"Apache Kafka listens on {broker.bootstrap_servers}")
        demo = _Demo(broker, Path(folder), progress)
        return asyncio.run(demo.run(events, keep))


class _Demo:
    def __init__(self, broker: EmbeddedKafka, folder: Path, progress: Progress) -> None:
        self._broker = broker
        self._folder = folder
        self._log = folder / "service.log"
        self._log_begin = 0
        """Where in the log the service that runs now began to write."""
        self._progress = progress
        self._kafka = KafkaSettings.model_validate({"bootstrap_servers": broker.bootstrap_servers})
        self._pim = PimSimulator(sample(), call_seconds=CALL_SECONDS)

    async def run(self, count: int, keep: Keep | None) -> DemoResult:
        began = time.monotonic()
        say = self._progress.say
        await self._create_topics()
        runner, url = await serve(self._pim)
        say(f"PIM simulator listens on {url}")
        try:
            events_topic = self._kafka.events_topic_names[0]
            await write(self._kafka, events_topic, believable_events(count))
            say(f"{count} events published; the service starts")
            async with self._service(url) as replica:
                await self._follow(count // 3, count)
                replica.kill()
                say("kill -9 in the middle of the work; starting the service again")
            async with self._service(url):
                outcomes = await self._follow(count, count)
                events = {
                    (record.partition, record.offset): record.value
                    async for record in read(self._kafka, events_topic)
                }
                found = audit(events, outcomes, self._pim.state)
                result = DemoResult(found, self._pim.writes, time.monotonic() - began)
                if keep is not None:
                    await self._stay(result, url, keep)
            return result
        finally:
            await runner.cleanup()

    async def _stay(self, result: DemoResult, pim: str, keep: Keep) -> None:
        """Tell the addresses, and wait for SIGINT or SIGTERM, whatever stdin is."""
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        service = await self._service_url()
        keep(result, Addresses(self._broker.bootstrap_servers, pim, service, self._log))
        await stopped.wait()

    async def _service_url(self) -> str:
        """Return where the service that runs now listens, once its log says so."""
        for _ in range(LISTENING_LOOKS_MAX):
            lines = self._log.read_bytes()[self._log_begin :].splitlines()
            listening = next((line for line in lines if b'"http.listening"' in line), None)
            if listening is not None:
                return f"http://127.0.0.1:{msgspec.json.decode(listening)['port']}"
            await asyncio.sleep(LOOK_SECONDS)
        return f"(not listening yet, see {self._log})"

    async def _create_topics(self) -> None:
        kafka = self._kafka
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
        await admin.start()
        names = (*kafka.events_topic_names, kafka.outcomes_topic, kafka.dead_letters_topic)
        await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
        await admin.close()

    @contextlib.asynccontextmanager
    async def _service(self, url: str) -> AsyncIterator[subprocess.Popen[bytes]]:
        """The service as a process of its own; stopped by SIGTERM at the end."""
        replica = self._start(url)
        try:
            yield replica
        finally:
            replica.terminate()
            await asyncio.to_thread(replica.wait, STOP_SECONDS_MAX)

    def _start(self, url: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            self._log_begin = log.tell()
            return subprocess.Popen(
                [sys.executable, "-m", "service", "run"],
                env=self._environ(url),
                stdout=log,
                stderr=log,
                cwd=self._folder,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one call to the kernel, no threads
            )

    def _environ(self, url: str) -> dict[str, str]:
        tokens = self._pim.tokens
        settings = {
            "KAFKA__BOOTSTRAP_SERVERS": self._broker.bootstrap_servers,
            "KAFKA__SESSION_TIMEOUT_SECONDS": "3",
            "PIM__BASE_URL": url,
            "PIM__CLIENT_ID": tokens.client_id,
            "PIM__CLIENT_SECRET": tokens.client_secret,
            "PIM__USERNAME": tokens.username,
            "PIM__PASSWORD": tokens.password,
            "WINDOW__MAX_SECONDS": "0.5",
            "HTTP__HOST": "127.0.0.1",
            "HTTP__PORT": "0",
            "HTTP__STATUS_PAGE": "true",
            "LOG__FORMAT": "json",
        }
        inherited = {name: os.environ[name] for name in KEPT if name in os.environ}
        return inherited | {f"ASSET_SYNC_{name}": value for name, value in settings.items()}

    async def _follow(self, wanted: int, count: int) -> list[dict[str, Any]]:
        """Every outcome so far, once there are as many as wanted (or the time is up)."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + SECONDS_MAX
        while len(found) < wanted and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            found = [
                msgspec.to_builtins(outcome)
                async for record in read(self._kafka, self._kafka.outcomes_topic)
                if (outcome := read_outcome(record.value)) is not None
            ]
            self._progress.count(len(found), count)
        return found
