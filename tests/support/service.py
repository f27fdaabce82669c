"""The whole system around one test: topics on a real broker, a PIM, replicas as processes."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata

from service.playground.embedded_kafka import die_with_parent
from service.playground.pim.server import serve
from service.playground.pim.simulator import PimSimulator

ROOT = Path(__file__).resolve().parent.parent.parent

Input = tuple[int, bytes | None, bytes | None]
"""Partition, key and value of a record to publish."""


@dataclass
class SystemUnderTest:
    """Names of its own on a shared broker; replicas are separate processes."""

    bootstrap: str
    pim_url: str
    pim: PimSimulator
    folder: Path
    partitions: int = 3
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    replicas: list[subprocess.Popen[bytes]] = field(default_factory=list)
    published: dict[tuple[int, int], tuple[bytes | None, bytes | None]] = field(
        default_factory=dict
    )
    """(partition, offset) → key and value of what was published."""

    @property
    def events(self) -> str:
        """The events topic."""
        return f"events.{self.suffix}"

    @property
    def outcomes(self) -> str:
        """The outcomes topic."""
        return f"outcomes.{self.suffix}"

    @property
    def dead(self) -> str:
        """The dead-letter topic."""
        return f"dead.{self.suffix}"

    async def create_topics(self) -> None:
        """Make the three topics."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        names = (self.events, self.outcomes, self.dead)
        await admin.create_topics([NewTopic(name, self.partitions, 1) for name in names])
        await admin.close()

    def settings(self) -> dict[str, str]:
        """The settings of a replica, as variables."""
        ours = {
            "KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA__GROUP_ID": f"group.{self.suffix}",
            "KAFKA__EVENTS_TOPICS": self.events,
            "KAFKA__OUTCOMES_TOPIC": self.outcomes,
            "KAFKA__DEAD_LETTERS_TOPIC": self.dead,
            "KAFKA__SESSION_TIMEOUT_SECONDS": "3",
            "PIM__BASE_URL": self.pim_url,
            "PIM__CLIENT_ID": self.pim.tokens.client_id,
            "PIM__CLIENT_SECRET": self.pim.tokens.client_secret,
            "PIM__USERNAME": self.pim.tokens.username,
            "PIM__PASSWORD": self.pim.tokens.password,
            "PIM__TIMEOUT_SECONDS": "5",
            "WINDOW__MAX_SECONDS": "0.2",
            "DRAIN__MAX_SECONDS": "10",
            "HTTP__HOST": "127.0.0.1",
            "HTTP__PORT": "0",
        }
        return {f"ASSET_SYNC_{name}": value for name, value in ours.items()}

    def start(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start one more replica, with more or other settings; its log lies in the folder."""
        return self._start([sys.executable, "-m", "service", "run"], settings)

    def start_doomed(self, moment: str, number: int = 3) -> subprocess.Popen[bytes]:
        """Start a replica that dies at this moment of its transaction of this number."""
        command = [sys.executable, "-m", "tests.support.doomed", moment, str(number)]
        return self._start(command, {})

    def start_stuck(self) -> subprocess.Popen[bytes]:
        """Start a replica whose consumer will not be closed."""
        return self._start([sys.executable, "-m", "tests.support.stuck"], {})

    def start_container(self, docker: str, image: str) -> subprocess.Popen[bytes]:
        """Start a replica in a container, as restricted as the chart runs it."""
        command = [docker, "run", "--rm", "--network=host", "--read-only"]
        command += ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
        command += [f"--env={name}" for name in self.settings()]
        return self._start([*command, image], {})

    def _start(self, command: list[str], settings: dict[str, str]) -> subprocess.Popen[bytes]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ASSET_SYNC_")}
        ours = {f"ASSET_SYNC_{name}": value for name, value in settings.items()}
        environ = inherited | self.settings() | ours | {"PYTHONPATH": str(ROOT)}
        with (self.folder / f"replica-{len(self.replicas)}.log").open("wb") as log:
            replica = subprocess.Popen(  # noqa: S603 - our own
                command,
                env=environ,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one call to the kernel, no threads
            )
        self.replicas.append(replica)
        return replica

    async def keep_running(self, replica: subprocess.Popen[bytes]) -> None:
        """Start a replica anew whenever it ends, as Kubernetes does."""
        while True:
            await asyncio.to_thread(replica.wait)
            assert replica.returncode == 1, self.logs()[-3000:]
            replica = self.start()

    async def url(self, number: int = 0) -> str:
        """Where a replica listens, once it does."""
        path = self.folder / f"replica-{number}.log"
        for _ in range(900):
            for line in path.read_text().splitlines():
                if '"http.listening"' in line:
                    return f"http://127.0.0.1:{json.loads(line)['port']}"
            await asyncio.sleep(0.1)
        raise AssertionError(path.read_text())

    async def get(self, path: str, number: int = 0) -> tuple[int, str]:
        """Ask a replica's port: status and text."""
        url = await self.url(number) + path
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def until_ready(self, number: int = 0) -> None:
        """Once a replica has joined the group and begun its partitions."""
        for _ in range(1200):
            if (await self.get("/readyz", number))[0] == HTTPStatus.OK:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(self.logs()[-3000:])

    def topic_partitions(self) -> list[TopicPartition]:
        """The partitions of the events topic, as it was made."""
        return [TopicPartition(self.events, number) for number in range(self.partitions)]

    async def until(
        self, path: str, is_so: Callable[[str], object], number: int = 0, seconds: float = 120.0
    ) -> str:
        """Return what a replica's port says, once it is so."""
        text = ""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            _, text = await self.get(path, number)
            if is_so(text):
                return text
            await asyncio.sleep(0.1)
        raise AssertionError(text + self.logs()[-3000:])

    async def until_waiting(self, reason: str, number: int = 0) -> None:
        """Wait until a replica says that it sends nothing for this reason."""
        series = f'asset_sync_waiting{{reason="{reason}"}} 1.0'
        await self.until("/metrics", lambda text: series in text, number)

    async def until_assigned(self, count: int, number: int = 0) -> None:
        """Wait until a replica owns so many partitions."""
        series = f"asset_sync_assigned_partitions {count}.0\n"
        await self.until("/metrics", lambda text: series in text, number)

    async def until_logged(self, words: str) -> None:
        """Wait until a replica's log has these words."""
        for _ in range(1200):
            if words in self.logs():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(self.logs()[-3000:])

    def logs(self) -> str:
        """What the replicas said, for a failing test."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    async def publish(self, records: list[Input], codec: str | None = None) -> None:
        """Write the records, packed or not, and remember where they went."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, compression_type=codec)
        await producer.start()
        try:
            wanted = {partition for partition, _, _ in records}
            while not wanted <= (await producer.partitions_for(self.events) or set()):
                await producer.client.force_metadata_update()  # one was added a moment ago
            sent = [
                await producer.send(self.events, value, key=key, partition=partition)
                for partition, key, value in records
            ]
            for (_, key, value), stored in zip(records, await asyncio.gather(*sent), strict=True):
                self.published[stored.partition, stored.offset] = (key, value)
        finally:
            await producer.stop()

    def values(self) -> dict[tuple[int, int], bytes | None]:
        """What was published, by (partition, offset): for the playground's audit."""
        return {topic_partition: value for topic_partition, (_, value) in self.published.items()}

    async def commit(self, positions: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit positions of the group, from outside."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=f"group.{self.suffix}",
            enable_auto_commit=False,
        )
        await consumer.start()
        consumer.assign(list(positions))
        await consumer.commit(positions)
        await consumer.stop()

    async def publish_and_start(self, records: list[Input]) -> subprocess.Popen[bytes]:
        """Publish, start a replica and wait until it is in the middle of the work."""
        await self.publish(records)
        replica = self.start()
        await self.outcome_data(len(records) // 10)
        return replica

    async def read(
        self, topic: str, count: int, seconds: float = 120.0
    ) -> list[tuple[bytes | None, bytes | None, dict[str, bytes]]]:
        """Every committed record of a topic, once there are `count`; or what came in time."""
        async with self.reader(topic) as consumer:
            found: list[tuple[bytes | None, bytes | None, dict[str, bytes]]] = []
            loop = asyncio.get_running_loop()
            deadline = loop.time() + seconds
            quiet_since = loop.time()
            while loop.time() < deadline:
                batches = await consumer.getmany(timeout_ms=200)
                for records in batches.values():
                    found += [(r.key, r.value, dict(r.headers)) for r in records]
                    quiet_since = loop.time()
                # a little longer than needed: a repeated outcome must have the time to show
                if len(found) >= count and loop.time() - quiet_since > 1.0:
                    break
            return found

    @contextlib.asynccontextmanager
    async def reader(self, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
        """A committed reader of every partition of a topic, from its start."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, n) for n in range(self.partitions)])
            await consumer.seek_to_beginning()
            yield consumer
        finally:
            await consumer.stop()

    async def outcome_data(self, count: int, seconds: float = 120.0) -> list[dict[str, Any]]:
        """The outcomes, in the order of each partition."""
        records = await self.read(self.outcomes, count, seconds)
        return [json.loads(value) for _, value, _ in records if value is not None]

    def end(self) -> None:
        """End what still runs."""
        for replica in self.replicas:
            if replica.poll() is None:
                replica.kill()
                replica.wait()


@contextlib.asynccontextmanager
async def system_around(
    bootstrap: str, folder: Path, pim: PimSimulator
) -> AsyncIterator[SystemUnderTest]:
    """The system around one test: the PIM serves, the topics are made; all ends with it."""
    runner, url = await serve(pim)
    made = SystemUnderTest(bootstrap, url, pim, folder)
    await made.create_topics()
    try:
        yield made
    finally:
        made.end()
        await runner.cleanup()


def start_command(
    system: SystemUnderTest, *words: str, out: int = subprocess.PIPE, **settings: str
) -> subprocess.Popen[bytes]:
    """Start one command with the settings of the system; its output is piped, or goes to `out`."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("ASSET_SYNC_")}
    ours = {f"ASSET_SYNC_{name}": value for name, value in settings.items()}
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "service", *words],
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=subprocess.PIPE,
        env=inherited | system.settings() | ours | {"PYTHONPATH": str(ROOT)},
        cwd=system.folder,
    )


def run(
    system: SystemUnderTest, *words: str, given: bytes | None = None, **settings: str
) -> subprocess.CompletedProcess[bytes]:
    """Run one command to its end."""
    with start_command(system, *words, out=subprocess.PIPE, **settings) as command:
        out, err = command.communicate(given, timeout=90)
        return subprocess.CompletedProcess(words, command.returncode, out, err)


async def aside(
    system: SystemUnderTest, *words: str, **settings: str
) -> subprocess.CompletedProcess[bytes]:
    """The same, while this process goes on serving the PIM."""
    return await asyncio.to_thread(lambda: run(system, *words, given=None, **settings))
