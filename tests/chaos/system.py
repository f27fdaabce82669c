"""The system under chaos: a broker and a PIM behind proxies, replicas that are restarted."""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from service.playground.embedded_kafka import EmbeddedKafka, free_ports, started
from service.playground.pim.faults import Fault
from service.playground.pim.server import served
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample
from tests.chaos.files import own_url
from tests.chaos.plan import Incident
from tests.chaos.proxy import Proxy, Trouble
from tests.support.media import Source, serving
from tests.support.service import SystemUnderTest

CALL_SECONDS = 0.05
CALLS_AT_ONCE = 4
WATCH_SECONDS = 0.005
WAKING_SECONDS = 1.0
"""A call this soon after a freeze may have been sent before it and delivered by the proxy later."""
SETTINGS = {
    "KAFKA__SESSION_TIMEOUT_SECONDS": "3",
    "PIM__TIMEOUT_SECONDS": "5",
    "PIM__MAX_CONCURRENCY": str(CALLS_AT_ONCE),
    "PIM__MAX_CALLS_PER_SECOND": "1000",
    "RETRY__MAX_SECONDS": "20",
    "PIPELINE__MAX_PENDING_CHANGES": "2000",
    "DRAIN__MAX_SECONDS": "8",
    "DEAD_LETTERS__MAX_SHARE": "1",
    "DELETES_MAX_PER_HOUR": "0",
    "MEDIA__PRIVATE_HOSTS": "localhost",
    "MEDIA__UPLOAD_TIMEOUT_SECONDS": "20",
}
TEMPTED_FAMILY = "packshots"
"""The family of the asset that is poisoned now and then."""


class ProxiedKafka(EmbeddedKafka):
    """A broker with one listener for each replica; clients reach it only through its proxy."""

    def __init__(self, folder: Path, classpath: str, java: Path, replicas: int) -> None:
        super().__init__(folder, classpath, java)
        ports = free_ports(2 * replicas)
        behind, self.fronts = ports[:replicas], ports[replicas:]
        self.lines = [
            Proxy(front, back, is_late=True)
            for front, back in zip(self.fronts, behind, strict=True)
        ]
        names = [f"R{number}" for number in range(replicas)]

        def listed(addresses: list[int]) -> str:
            pairs = zip(names, addresses, strict=True)
            return ",".join(f"{name}://127.0.0.1:{port}" for name, port in pairs)

        own = f"PLAINTEXT://127.0.0.1:{self._port}"
        with self._properties.open("a") as properties:
            properties.write(
                f"\nlisteners={own},CONTROLLER://127.0.0.1:{self._controller},{listed(behind)}"
                f"\nadvertised.listeners={own},{listed(self.fronts)}"
                "\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
                + ",".join(f"{name}:PLAINTEXT" for name in names)
                + "\n"
            )

    def pause(self) -> None:
        """Stop the broker's process, as if its disk did not answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the broker's process continue."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@dataclass
class ReplicaHost:
    """A host of one replica: its proxies, and the process that runs there now."""

    number: int
    kafka: Proxy
    pim: Proxy
    process: subprocess.Popen[bytes] | None = None
    memory_bytes: list[tuple[float, int]] = field(default_factory=list)
    """Samples of the resident memory: when (monotonic) and how much."""
    starts: int = 0
    woken_at: float = float("-inf")
    """When its frozen process continued (monotonic); infinity while it is frozen."""


@dataclass
class ChaosSystem(SystemUnderTest):
    """A system of replicas on hosts of their own, which incidents happen to."""

    broker: ProxiedKafka = field(kw_only=True)
    hosts: list[ReplicaHost] = field(kw_only=True)
    files: Source = field(kw_only=True)
    is_closing: bool = False
    exits: list[int] = field(default_factory=list)
    """Exit codes of processes that ended by themselves."""
    calls_at_once: int = 0
    """The highest number of calls at once of processes that were not frozen."""
    _signalled: set[int] = field(default_factory=set)
    _killing_broker: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def media_folder(self) -> Path:
        """Where the replicas keep files between download and upload."""
        return self.folder / "media"

    # --- replicas ----------------------------------------------------------------------------

    def start_on(self, host: ReplicaHost, **more: str) -> None:
        """Start a process on this host."""
        host.starts += 1
        host.woken_at = float("-inf")
        host.process = self.start(
            **SETTINGS,
            KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{host.kafka.port}",
            PIM__BASE_URL=f"http://127.0.0.1:{host.pim.port}",
            MEDIA__DIR=str(self.media_folder),
            **more,
        )

    async def keep_hosts_running(self, **more: str) -> None:
        """Start a replica again whenever it ends, as Kubernetes does; sample its memory."""
        while not self.is_closing:
            for host in self.hosts:
                process = host.process
                if process is None or process.poll() is not None:
                    if process is not None and process.pid not in self._signalled:
                        self.exits.append(process.returncode)
                    self.start_on(host, **more)
                else:
                    host.memory_bytes.append((time.monotonic(), _resident(process.pid)))
            await asyncio.sleep(0.5)

    async def watch_calls(self) -> None:
        """Record the highest number of calls at once (P8).

        Calls of a frozen process do not count: it cannot cancel them, and its share of the limit
        belongs to other replicas.
        """
        while not self.is_closing:
            calls = self.pim.in_flight.items()
            count = sum(self._counts(connection, began) for connection, began in calls)
            self.calls_at_once = max(self.calls_at_once, count)
            await asyncio.sleep(WATCH_SECONDS)

    def _counts(self, connection: asyncio.Transport, began: float) -> bool:
        """Whether the sender still exists, and was not frozen when the call began."""
        port = connection.get_extra_info("peername")[1]
        return not connection.is_closing() and any(
            port in host.pim.ports and began > host.woken_at + WAKING_SECONDS for host in self.hosts
        )

    def end(self) -> None:
        """Kill the replicas that still run, and start none again."""
        self.is_closing = True
        super().end()

    async def stop(self) -> list[int]:
        """Send SIGTERM to all replicas and return their exit codes."""
        self.is_closing = True
        codes = []
        for host in self.hosts:
            assert host.process is not None
            host.process.terminate()
        for host in self.hosts:
            assert host.process is not None
            codes.append(await asyncio.to_thread(host.process.wait, 60))
        return codes

    # --- faults ------------------------------------------------------------------------------

    async def suffer(self, incident: Incident) -> None:
        """Let an incident happen, and end after its time."""
        host = self.hosts[incident.replica]
        line = host.kafka if incident.kind.startswith("kafka") else host.pim
        match incident.kind:
            case "kill":
                self._signal(host, signal.SIGKILL)
            case "terminate":
                self._signal(host, signal.SIGTERM)
            case "freeze":
                await self._freeze(host, incident.seconds)
            case "kill_broker":
                await self._kill_broker(incident.seconds / 2)
            case "slow_broker":
                await self._slow_broker(incident.seconds)
            case "kafka_cut" | "pim_cut":
                line.break_connections()
            case "kafka_delay" | "pim_delay":
                await line.suffer(Trouble(delay_seconds=0.2), incident.seconds)
            case "kafka_throttle" | "pim_throttle":
                await line.suffer(Trouble(bytes_per_second=60_000), incident.seconds)
            case "kafka_silence":
                await line.suffer(Trouble(is_silent=True), incident.seconds)
            case "tokens_lost":
                self.pim.tokens.forget()
            case _:
                self._add_fault(incident)

    def _add_fault(self, incident: Incident) -> None:
        faults = {
            "pim_down": Fault(route="any", status=503, times=None),
            "pim_errors": Fault(status=500, times=5, body="html"),
            "pim_429": Fault(route="any", status=429, times=None, retry_after="1"),
            "pim_half": Fault(route="upsert", cut="after", stored=30, times=3),
            "slow_upload": Fault(route="upload", hang=True),
            "poison": Fault(status=500, times=None, family=TEMPTED_FAMILY, asset="dam_00000"),
        }
        self.pim.faults.add(faults[incident.kind], seconds=incident.seconds)

    def _signal(self, host: ReplicaHost, number: signal.Signals) -> None:
        if host.process is not None and host.process.poll() is None:
            self._signalled.add(host.process.pid)
            host.process.send_signal(number)

    async def _freeze(self, host: ReplicaHost, seconds: float) -> None:
        process = host.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGSTOP)
        host.woken_at = float("inf")
        await asyncio.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        host.woken_at = time.monotonic()

    async def _kill_broker(self, seconds: float) -> None:
        async with self._killing_broker:  # the last start may still be under way
            self.broker.kill()
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.broker.start)

    async def _slow_broker(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            self.broker.pause()
            await asyncio.sleep(0.3)
            self.broker.resume()
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def chaos_system(replicas: int) -> AsyncIterator[ChaosSystem]:
    """Run a broker, a PIM, proxies and topics; they end with the context."""
    pim = PimSimulator(
        sample(),
        call_seconds=CALL_SECONDS,
        calls_at_once_max=10 * CALLS_AT_ONCE,  # it counts; the auditor judges
        calls_per_second_max=100_000,
    )
    make = partial(ProxiedKafka, replicas=replicas)
    with tempfile.TemporaryDirectory(prefix="asset-sync-chaos-") as folder, started(make) as broker:
        async with served(pim) as url, serving(own_url) as files:
            target = int(url.rpartition(":")[2])
            pim_lines = [Proxy(port, target, is_late=False) for port in free_ports(replicas)]
            lines = zip(broker.lines, pim_lines, strict=True)
            system = ChaosSystem(
                broker.bootstrap_servers,
                url,
                pim.tokens,
                Path(folder),
                partitions=6,
                pim=pim,
                broker=broker,
                files=files,
                hosts=[ReplicaHost(number, *both) for number, both in enumerate(lines)],
            )
            for line in (*broker.lines, *pim_lines):
                await line.open()
            try:
                async with system:
                    yield system
            finally:
                for line in (*broker.lines, *pim_lines):
                    await line.close()
                with contextlib.suppress(ProcessLookupError):
                    broker.resume()


def _resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes (Linux; elsewhere 0)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
