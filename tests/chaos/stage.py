"""Where it happens: a broker and a PIM behind bad lines, replicas that are started anew."""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from service.playground.embedded_kafka import EmbeddedKafka, free_ports, parts
from service.playground.pim.faults import Fault
from service.playground.pim.server import serve
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample
from tests.chaos.plan import Incident
from tests.chaos.proxy import Proxy, Trouble
from tests.support.service import SystemUnderTest

CALL_SECONDS = 0.05
CALLS_AT_ONCE = 4
WATCH_SECONDS = 0.005
WAKING_SECONDS = 1.0
"""For what a process sent before it slept, and the line delivered after."""
SETTINGS = {
    "KAFKA__SESSION_TIMEOUT_SECONDS": "3",
    "PIM__TIMEOUT_SECONDS": "5",
    "PIM__MAX_CONCURRENCY": str(CALLS_AT_ONCE),
    "PIM__MAX_CALLS_PER_SECOND": "1000",
    "RETRY__MAX_SECONDS": "20",
    "PIPELINE__MAX_PENDING_CHANGES": "2000",
    "DRAIN__MAX_SECONDS": "8",
    "DEAD_LETTERS__MAX_SHARE": "1",
}
TEMPTED_FAMILY = "packshots"
"""Whose assets are poisoned, now and then."""


class ProxiedKafka(EmbeddedKafka):
    """A broker with a listener for each replica, which clients reach by its proxy alone."""

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
        """It does nothing, as if its disk did not answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It works again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@dataclass
class Replica:
    """A place for a process: its own lines, and who is there now."""

    number: int
    kafka: Proxy
    pim: Proxy
    process: subprocess.Popen[bytes] | None = None
    memory_bytes: list[tuple[float, int]] = field(default_factory=list)
    """When (monotonic) and how much was resident."""
    starts: int = 0
    woken_at: float = float("-inf")
    """When its process was let go on (monotonic); it sleeps until then."""


@dataclass
class Stage:
    """All of it."""

    system: SystemUnderTest
    broker: ProxiedKafka
    replicas: list[Replica]
    is_closing: bool = False
    exits: list[int] = field(default_factory=list)
    """Exit codes that nobody asked for."""
    calls_at_once: int = 0
    """Calls of processes that were awake, at most."""
    _asked: set[int] = field(default_factory=set)
    _killing_broker: asyncio.Lock = field(default_factory=asyncio.Lock)

    # --- replicas ----------------------------------------------------------------------------

    def start(self, replica: Replica, **more: str) -> None:
        """Start a process there."""
        replica.starts += 1
        replica.woken_at = float("-inf")
        replica.process = self.system.start(
            **SETTINGS,
            KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{replica.kafka.port}",
            PIM__BASE_URL=f"http://127.0.0.1:{replica.pim.port}",
            **more,
        )

    async def keep_running(self, **more: str) -> None:
        """Start what ended anew, as Kubernetes does; sample memory."""
        while not self.is_closing:
            for replica in self.replicas:
                process = replica.process
                if process is None or process.poll() is not None:
                    if process is not None and process.pid not in self._asked:
                        self.exits.append(process.returncode)
                    self.start(replica, **more)
                else:
                    replica.memory_bytes.append((time.monotonic(), _resident(process.pid)))
            await asyncio.sleep(0.5)

    async def watch_calls(self) -> None:
        """See how many calls there are at once (P8).

        A process that sleeps cannot take back what is on the wire, and another has its share.
        """
        while not self.is_closing:
            calls = self.system.pim.in_flight.items()
            count = sum(self._is_meant(connection, began) for connection, began in calls)
            self.calls_at_once = max(self.calls_at_once, count)
            await asyncio.sleep(WATCH_SECONDS)

    def _is_meant(self, connection: asyncio.Transport, began: float) -> bool:
        """Whether its sender is there, and was awake when the call began."""
        port = connection.get_extra_info("peername")[1]
        return not connection.is_closing() and any(
            port in replica.pim.ports and began > replica.woken_at + WAKING_SECONDS
            for replica in self.replicas
        )

    async def stop(self) -> list[int]:
        """SIGTERM to all; their exit codes."""
        self.is_closing = True
        codes = []
        for replica in self.replicas:
            assert replica.process is not None
            replica.process.terminate()
        for replica in self.replicas:
            assert replica.process is not None
            codes.append(await asyncio.to_thread(replica.process.wait, 60))
        return codes

    # --- faults ------------------------------------------------------------------------------

    async def suffer(self, incident: Incident) -> None:
        """Let it happen, and heal."""
        replica = self.replicas[incident.replica]
        line = replica.kafka if incident.kind.startswith("kafka") else replica.pim
        match incident.kind:
            case "kill":
                self._signal(replica, signal.SIGKILL)
            case "terminate":
                self._signal(replica, signal.SIGTERM)
            case "freeze":
                await self._freeze(replica, incident.seconds)
            case "kill_broker":
                await self._kill_broker(incident.seconds / 2)
            case "slow_broker":
                await self._slow_broker(incident.seconds)
            case "kafka_cut" | "pim_cut":
                line.cut()
            case "kafka_delay" | "pim_delay":
                await line.suffer(Trouble(delay_seconds=0.2), incident.seconds)
            case "kafka_throttle" | "pim_throttle":
                await line.suffer(Trouble(bytes_per_second=60_000), incident.seconds)
            case "kafka_silence":
                await line.suffer(Trouble(is_silent=True), incident.seconds)
            case "tokens_lost":
                self.system.pim.tokens.forget()
            case _:
                self._upset_pim(incident)

    def _upset_pim(self, incident: Incident) -> None:
        faults = {
            "pim_down": Fault(route="any", status=503, times=None),
            "pim_errors": Fault(status=500, times=5, body="html"),
            "pim_429": Fault(route="any", status=429, times=None, retry_after="1"),
            "pim_half": Fault(route="upsert", cut="after", stored=30, times=3),
            "poison": Fault(status=500, times=None, family=TEMPTED_FAMILY, asset="dam_00000"),
        }
        self.system.pim.faults.add(faults[incident.kind], seconds=incident.seconds)

    def _signal(self, replica: Replica, number: signal.Signals) -> None:
        if replica.process is not None and replica.process.poll() is None:
            self._asked.add(replica.process.pid)
            replica.process.send_signal(number)

    async def _freeze(self, replica: Replica, seconds: float) -> None:
        process = replica.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGSTOP)
        replica.woken_at = float("inf")
        await asyncio.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        replica.woken_at = time.monotonic()

    async def _kill_broker(self, seconds: float) -> None:
        async with self._killing_broker:  # on a busy machine the last start takes its time
            self.broker.kill()
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.broker.start)

    async def _slow_broker(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            self.broker.pause()
            await asyncio.sleep(0.3)
            self.broker.go_on()
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def stage(replicas: int) -> AsyncIterator[Stage]:
    """Broker, PIM, lines and topics; everything ends with it."""
    java, classpath = parts()
    with tempfile.TemporaryDirectory(prefix="asset-sync-chaos-") as name:
        folder = Path(name)
        broker = ProxiedKafka(folder, classpath, java, replicas)
        broker.format()
        await asyncio.to_thread(broker.start)
        pim = PimSimulator(
            sample(),
            call_seconds=CALL_SECONDS,
            calls_at_once_max=10 * CALLS_AT_ONCE,  # it counts; the auditor judges
            calls_per_second_max=100_000,
        )
        runner, url = await serve(pim)
        (*pim_ports,) = free_ports(replicas)
        pim_lines = [Proxy(port, int(url.rpartition(":")[2]), is_late=False) for port in pim_ports]
        system = SystemUnderTest(
            broker.bootstrap_servers, url, pim.tokens, folder, partitions=6, pim=pim
        )
        made = Stage(
            system,
            broker,
            [
                Replica(number, kafka, line)
                for number, (kafka, line) in enumerate(zip(broker.lines, pim_lines, strict=True))
            ],
        )
        for line in (*broker.lines, *pim_lines):
            await line.open()
        await system.create_topics()
        try:
            yield made
        finally:
            made.is_closing = True
            system.end()
            for line in (*broker.lines, *pim_lines):
                await line.close()
            await runner.cleanup()
            with contextlib.suppress(ProcessLookupError):
                broker.go_on()
            broker.stop()


def _resident(pid: int) -> int:
    """Resident memory of a process (Linux; else 0)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
