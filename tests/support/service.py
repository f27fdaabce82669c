"""The whole system around one test: topics on a real broker, a PIM, replicas as processes."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from service.playground.local_system import Event, LocalSystem, LoggedProcess, variables
from service.playground.pim.server import served
from service.playground.pim.simulator import PimSimulator

ROOT = Path(__file__).resolve().parent.parent.parent

Input = tuple[int, bytes | None, bytes | None]
"""Partition, key and value of a record to publish."""


@dataclass
class SystemUnderTest(LocalSystem):
    """A local system whose PIM serves in this process, with what tests want to know of it."""

    pim: PimSimulator = field(kw_only=True)

    def settings(self) -> dict[str, str]:
        """Return the settings of a replica, with short times."""
        return super().settings() | {
            "KAFKA__SESSION_TIMEOUT_SECONDS": "3",
            "PIM__TIMEOUT_SECONDS": "5",
            "WINDOW__MAX_SECONDS": "0.2",
            "DRAIN__MAX_SECONDS": "10",
        }

    def environ(self, **settings: str) -> dict[str, str]:
        """Return the environment of a command, which runs the code beside these tests."""
        return super().environ(**settings) | {"PYTHONPATH": str(ROOT)}

    def start_doomed(
        self, moment: str, number: int = 3, program: str = "run", **settings: str
    ) -> LoggedProcess:
        """Start a replica that dies at this moment of its transaction of this number."""
        command = [sys.executable, "-m", "tests.support.doomed", moment, str(number), program]
        return self.start_process(command, **settings)

    def start_stuck(self) -> LoggedProcess:
        """Start a replica whose consumer does not close."""
        return self.start_process([sys.executable, "-m", "tests.support.stuck"])

    def start_container(self, docker: str, image: str) -> LoggedProcess:
        """Start a replica in a container, as restricted as the chart runs it."""
        command = [docker, "run", "--rm", "--network=host", "--read-only"]
        command += ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
        command += [f"--env={name}" for name in variables(self.settings())]
        return self.start_process([*command, image])

    async def keep_running(self, replica: subprocess.Popen[bytes]) -> None:
        """Start a replica again whenever it ends, as Kubernetes does."""
        while True:
            await asyncio.to_thread(replica.wait)
            assert replica.returncode == 1, self.logs()[-3000:]
            replica = self.start()

    async def get(self, path: str, number: int = 0) -> tuple[int, str]:
        """Return status and text of a GET to a replica's port."""
        url = await self.url(number) + path
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def until_ready(self, number: int = 0) -> None:
        """Wait until a replica has joined the group and begun its partitions."""
        for _ in range(1200):
            if (await self.get("/readyz", number))[0] == HTTPStatus.OK:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(self.logs()[-3000:])

    def topic_partitions(self) -> list[TopicPartition]:
        """Return the partitions of the events topic, as it was created."""
        return [TopicPartition(self.events, number) for number in range(self.partitions)]

    async def until(
        self, path: str, is_so: Callable[[str], object], number: int = 0, seconds: float = 120.0
    ) -> str:
        """Return the text at a path of a replica's port, once `is_so` is true for it."""
        text = ""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            _, text = await self.get(path, number)
            if is_so(text):
                return text
            await asyncio.sleep(0.1)
        raise AssertionError(text + self.logs()[-3000:])

    async def until_waiting(self, reason: str, number: int = 0) -> None:
        """Wait until a replica sends nothing for this reason."""
        series = f'asset_sync_waiting{{reason="{reason}"}} 1.0'
        await self.until("/metrics", lambda text: series in text, number)

    async def until_assigned(self, count: int, number: int = 0) -> None:
        """Wait until a replica owns this many partitions."""
        series = f"asset_sync_assigned_partitions {count}.0\n"
        await self.until("/metrics", lambda text: series in text, number)

    async def until_logged(self, words: str) -> None:
        """Wait until these words are in the log of a replica."""
        for _ in range(1200):
            if words in self.logs():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(self.logs()[-3000:])

    async def publish(self, records: list[Input], codec: str | None = None) -> None:
        """Write the records to the partitions that they name."""
        await self.publish_events(
            (Event(key, value, partition=partition) for partition, key, value in records), codec
        )

    async def publish_and_start(self, records: list[Input]) -> LoggedProcess:
        """Publish, start a replica and wait until a tenth of the records has an outcome."""
        await self.publish(records)
        replica = self.start()
        await self.read(self.outcomes, len(records) // 10, quiet_seconds=0)
        return replica

    async def commit(self, positions: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit positions of the group, from outside."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=self.group, enable_auto_commit=False
        )
        await consumer.start()
        consumer.assign(list(positions))
        await consumer.commit(positions)
        await consumer.stop()


@contextlib.asynccontextmanager
async def system_around(
    bootstrap: str, folder: Path, pim: PimSimulator
) -> AsyncIterator[SystemUnderTest]:
    """Give the system around one test: the PIM serves, the topics exist; all ends with it."""
    async with (
        served(pim) as url,
        SystemUnderTest(bootstrap, url, pim.tokens, folder, pim=pim) as system,
    ):
        yield system


def start_command(
    system: SystemUnderTest,
    *words: str,
    given: int = subprocess.PIPE,
    out: int = subprocess.PIPE,
    **settings: str,
) -> subprocess.Popen[bytes]:
    """Start one command with the settings of the system, its input and output piped or as given."""
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "service", *words],
        stdin=given,
        stdout=out,
        stderr=subprocess.PIPE,
        env=system.environ(**settings),
        cwd=system.folder,
    )


def run(
    system: SystemUnderTest, *words: str, given: bytes | None = None, **settings: str
) -> subprocess.CompletedProcess[bytes]:
    """Run one command to its end."""
    piped = subprocess.PIPE
    with start_command(system, *words, given=piped, out=piped, **settings) as command:
        out, err = command.communicate(given, timeout=90)
        return subprocess.CompletedProcess(words, command.returncode, out, err)


async def aside(
    system: SystemUnderTest, *words: str, **settings: str
) -> subprocess.CompletedProcess[bytes]:
    """Run one command to its end, while this process goes on serving the PIM."""
    return await asyncio.to_thread(lambda: run(system, *words, given=None, **settings))
