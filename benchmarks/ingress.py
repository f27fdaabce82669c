"""Webhooks a second: asset-sync ingress beside a bare handler with the same checks."""

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.usage import cpu_seconds
from service.playground.local_system import LoggedProcess
from tests.support.ingress import IngressUnderTest, signed

SENDERS = 50
ROUNDS = 10
"""Rounds of each server, in turns. The best one counts: others are slowed by what else runs."""
PACED_ROUNDS = 3
BODY_BYTES = 800


@dataclass(frozen=True)
class Round:
    """What one server did in one round."""

    cpu_seconds: float
    """CPU time of the server for each request."""
    per_second: float
    """Requests a second by the clock."""
    p50_seconds: float
    """Time from a request to its answer, half of the requests."""
    p99_seconds: float


@dataclass
class Measured:
    """What one server did, over all its rounds."""

    rounds: list[Round] = field(default_factory=list)
    paced: list[Round] = field(default_factory=list)
    """Rounds at half of the highest rate of the others."""

    @property
    def cpu_seconds(self) -> float:
        return min(one.cpu_seconds for one in self.rounds)

    @property
    def per_second(self) -> float:
        return max(one.per_second for one in self.rounds)

    @property
    def p50_seconds(self) -> float:
        return min(one.p50_seconds for one in self.rounds)

    @property
    def p99_seconds(self) -> float:
        return min(one.p99_seconds for one in self.rounds)

    @property
    def paced_p99_seconds(self) -> float:
        return min(one.p99_seconds for one in self.paced)


async def compare(bootstrap: str, folder: Path, requests: int) -> tuple[Measured, Measured]:
    """Return what ingress and the bare handler did with that many requests each."""
    ingress = IngressUnderTest(bootstrap, folder)
    await ingress.create_topics()
    ours, bare = Measured(), Measured()
    try:
        ingress.start()
        servers = [(ours, ingress.processes[-1], await ingress.url())]
        command = [sys.executable, "-m", "benchmarks.bare_ingress", bootstrap, ingress.topic]
        ingress.processes.append(LoggedProcess(command, ingress.environ(), folder / "bare.log"))
        servers.append((bare, ingress.processes[-1], await ingress.url()))
        for _ in range(ROUNDS):
            for measured, process, url in servers:
                measured.rounds.append(await _round(process.pid, url, requests // ROUNDS))
        _, process, url = servers[0]
        for _ in range(PACED_ROUNDS):
            every_seconds = 2 * SENDERS / ours.per_second
            paced = await _round(process.pid, url, requests // ROUNDS, every_seconds)
            ours.paced.append(paced)
    finally:
        ingress.end()
    return ours, bare


async def _round(pid: int, url: str, requests: int, every_seconds: float = 0.0) -> Round:
    """Send requests over connections that stay open, each as soon as the last was answered.

    `every_seconds` is the least time between two requests of one connection.
    """
    port = int(url.rpartition(":")[2])
    share = requests // SENDERS
    written = [[_request(f"{sender}-{n}") for n in range(share)] for sender in range(SENDERS)]
    waits: list[float] = []
    cpu, began = cpu_seconds(pid), time.monotonic()
    await asyncio.gather(
        *(
            _send(port, one, waits, began + every_seconds * sender / SENDERS, every_seconds)
            for sender, one in enumerate(written)
        )
    )
    wall, used = time.monotonic() - began, cpu_seconds(pid) - cpu
    waits.sort()
    count = len(waits)
    return Round(used / count, count / wall, waits[count // 2], waits[int(count * 0.99)])


async def _send(
    port: int, requests: Iterable[bytes], waits: list[float], due: float, every_seconds: float
) -> None:
    """Send the first request when it is due (monotonic), and each other one so much later."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for written in requests:
        if (early := due - time.monotonic()) > 0:
            await asyncio.sleep(early)
        due += every_seconds
        began = time.monotonic()
        writer.write(written)
        answer = await reader.readuntil(b"\r\n\r\n")
        waits.append(time.monotonic() - began)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
    writer.close()


def _request(event_id: str) -> bytes:
    body = json.dumps({"id": event_id, "text": "x" * BODY_BYTES}).encode()
    headers = {"Host": "localhost", "Content-Length": str(len(body)), **signed(body)}
    lines = ["POST /hooks HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
