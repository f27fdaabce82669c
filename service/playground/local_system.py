"""A whole system on this machine: topics, replicas as processes, their environment and logs.

The demo, the tests, the benches and the chaos run share it. Kafka and the PIM are given by their
addresses: they may run in this process, in another one, or elsewhere.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from service.adapters.kafka.tools.create_topics import configs_of, until_known
from service.core.model import Headers
from service.playground.embedded_kafka import die_with_parent
from service.playground.pim.tokens import Tokens
from service.settings import KafkaSettings

START_SECONDS_MAX = 90.0
LOOK_SECONDS = 0.1
QUIET_SECONDS = 1.0
"""How long a reader continues after the last record, so that a repeated outcome would show."""
NOT_INHERITED = ("ASSET_SYNC_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
"""Prefixes of the caller's variables that no replica inherits: settings and proxies."""
DEFAULTS = KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:9092"})

Stored = tuple[bytes | None, bytes | None, dict[str, bytes]]
"""Key, value and headers of a record that was read."""


class Event(NamedTuple):
    """A record for the events topic; without a partition its key decides."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class LoggedProcess(subprocess.Popen[bytes]):
    """A child process that writes to a log of its own and never outlives this process."""

    def __init__(self, command: list[str], environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            super().__init__(
                command,
                env=environ,
                stdout=out,
                stderr=out,
                cwd=log.parent,
                preexec_fn=die_with_parent,
            )

    @property
    def url(self) -> str | None:
        """The address of a replica's HTTP port, once its log tells it."""
        return self.url_of("http.listening")

    def url_of(self, event: str) -> str | None:
        """Return the address of the port that this event of the log tells, once it is there."""
        for line in self.log.read_bytes().splitlines():
            if f'"{event}"'.encode() in line:
                return f"http://127.0.0.1:{json.loads(line)['port']}"
        return None

    def stop(self, seconds_max: float) -> int:
        """Send SIGTERM and return the exit code.

        Raises:
            TimeoutExpired: the process still runs after that many seconds.
        """
        self.terminate()
        return self.wait(seconds_max)


@dataclass
class LocalSystem:
    """A group of replicas with topics of its own on a broker, and a PIM.

    As a context it creates the topics first, and kills the replicas that still run at its end.
    """

    bootstrap: str
    """HOST:PORT of the broker."""
    pim_url: str
    tokens: Tokens
    """The credentials of the PIM, as they are when a replica starts."""
    folder: Path
    """The working directory of the replicas; their logs are here."""
    partitions: int = 3
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    """Makes the names of group and topics unique; empty: the default names."""
    more_topics: tuple[str, ...] = ()
    """Topics that are created besides, exactly as they are named."""
    replicas: list[LoggedProcess] = field(default_factory=list)
    published: dict[tuple[int, int], tuple[bytes | None, bytes | None]] = field(
        default_factory=dict
    )
    """(partition, offset) → key and value of each published event."""

    async def __aenter__(self) -> Self:
        await self.create_topics()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()

    # --- names -------------------------------------------------------------------------------

    @property
    def group(self) -> str:
        return self._named("group", DEFAULTS.group_id)

    @property
    def events(self) -> str:
        return self._named("events", DEFAULTS.events_topic_names[0])

    @property
    def outcomes(self) -> str:
        return self._named("outcomes", DEFAULTS.outcomes_topic)

    @property
    def dead_letters(self) -> str:
        return self._named("dead", DEFAULTS.dead_letters_topic)

    def _named(self, kind: str, default: str) -> str:
        return f"{kind}.{self.suffix}" if self.suffix else default

    # --- Kafka -------------------------------------------------------------------------------

    async def create_topics(self) -> None:
        """Create them as `asset-sync topics create` does, so that `check` has nothing to say."""
        configs = configs_of(
            DEFAULTS.model_copy(
                update={
                    "events_topics": self.events,
                    "outcomes_topic": self.outcomes,
                    "dead_letters_topic": self.dead_letters,
                }
            ),
            self.more_topics,
        )
        new = [NewTopic(name, self.partitions, 1, None, made) for name, made in configs.items()]
        await create_topics(self.bootstrap, new)

    async def publish_events(self, events: Iterable[Event], codec: str | None = None) -> None:
        """Write the events in order, compressed or not, and remember them in `published`."""
        events = list(events)
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, compression_type=codec, enable_idempotence=True
        )
        await producer.start()
        try:
            wanted = {event.partition for event in events} - {None}
            while not wanted <= (await producer.partitions_for(self.events) or set()):
                await producer.client.force_metadata_update()  # one was added a moment ago
            sent = [
                await producer.send(
                    self.events,
                    event.value,
                    key=event.key,
                    partition=event.partition,
                    headers=list(event.headers),
                )
                for event in events
            ]
            for event, stored in zip(events, await asyncio.gather(*sent), strict=True):
                self.published[stored.partition, stored.offset] = (event.key, event.value)
        finally:
            await producer.stop()

    def values(self) -> dict[tuple[int, int], bytes | None]:
        """Return the values of the published events by (partition, offset), for an audit."""
        return {record_id: value for record_id, (_, value) in self.published.items()}

    @contextlib.asynccontextmanager
    async def reader(
        self, topic: str, fetch_max_wait_ms: int = 500
    ) -> AsyncIterator[AIOKafkaConsumer]:
        """Give a committed reader of every partition of a topic, from its start.

        The broker answers a fetch after `fetch_max_wait_ms` at the latest.
        """
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=fetch_max_wait_ms,
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, n) for n in range(self.partitions)])
            await consumer.seek_to_beginning()
            yield consumer
        finally:
            await consumer.stop()

    async def read(
        self,
        topic: str,
        count: int,
        seconds: float = 120.0,
        *,
        quiet_seconds: float = QUIET_SECONDS,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Stored]:
        """Return key, value and headers of the records that `records` returns."""
        found = await self.records(
            topic, count, seconds, quiet_seconds=quiet_seconds, progress=progress
        )
        return [(one.key, one.value, dict(one.headers)) for one in found]

    async def records(
        self,
        topic: str,
        count: int,
        seconds: float = 120.0,
        *,
        quiet_seconds: float = QUIET_SECONDS,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[ConsumerRecord]:
        """Return the committed records of a topic, once there are `count`, or when time is up.

        `progress` is called with the number of records after each poll.
        """
        async with self.reader(topic) as consumer:
            found: list[ConsumerRecord] = []
            deadline = time.monotonic() + seconds
            quiet_since = time.monotonic()
            while time.monotonic() < deadline:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
                    quiet_since = time.monotonic()
                progress(len(found))
                if len(found) >= count and time.monotonic() - quiet_since >= quiet_seconds:
                    break
            return found

    async def outcome_data(self, count: int, seconds: float = 120.0) -> list[dict[str, Any]]:
        """Return the outcomes in the order of each partition, once there are `count`."""
        return decoded(await self.read(self.outcomes, count, seconds))

    # --- replicas ----------------------------------------------------------------------------

    def settings(self) -> dict[str, str]:
        """Return the settings that each replica needs to find Kafka and the PIM."""
        return {
            "KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA__GROUP_ID": self.group,
            "KAFKA__EVENTS_TOPICS": self.events,
            "KAFKA__OUTCOMES_TOPIC": self.outcomes,
            "KAFKA__DEAD_LETTERS_TOPIC": self.dead_letters,
            "PIM__BASE_URL": self.pim_url,
            "PIM__CLIENT_ID": self.tokens.client_id,
            "PIM__CLIENT_SECRET": self.tokens.client_secret,
            "PIM__USERNAME": self.tokens.username,
            "PIM__PASSWORD": self.tokens.password,
            "HTTP__HOST": "127.0.0.1",
            "HTTP__PORT": "0",
        }

    def environ(self, **settings: str) -> dict[str, str]:
        """Return the environment of a command, with more or other settings."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith(NOT_INHERITED)
        }
        return inherited | variables(self.settings() | settings)

    def start(self, **settings: str) -> LoggedProcess:
        """Start one more replica of `run`, with more or other settings."""
        return self.start_program("run", **settings)

    def start_program(self, program: str, **settings: str) -> LoggedProcess:
        """Start one more replica of a program, with more or other settings."""
        return self.start_process([sys.executable, "-m", "service", program], **settings)

    def start_process(self, command: list[str], **settings: str) -> LoggedProcess:
        """Start a command as one more replica, with the environment of one."""
        log = self.folder / f"replica-{len(self.replicas)}.log"
        replica = LoggedProcess(command, self.environ(**settings), log)
        self.replicas.append(replica)
        return replica

    async def url(self, number: int = 0) -> str:
        """Return the address of a replica's HTTP port, once it listens.

        Raises:
            TimeoutError: the replica does not listen; the message is its log.
        """
        return await address(self.replicas[number])

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def end(self) -> None:
        """Kill the replicas that still run."""
        for replica in self.replicas:
            if replica.poll() is None:
                replica.kill()
                replica.wait()


async def create_topics(bootstrap: str, topics: Sequence[NewTopic]) -> None:
    """Create topics, and wait until the broker knows them.

    Raises:
        KafkaError: the broker refuses them, or cannot be reached.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(topics)
        await until_known(admin, [topic.name for topic in topics])
    finally:
        await admin.close()


async def address(replica: LoggedProcess, event: str = "http.listening") -> str:
    """Return the address of a port, once the replica's log tells it by this event.

    Raises:
        TimeoutError: the replica does not listen, or has ended; the message is its log.
    """
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        has_ended = replica.poll() is not None
        if (url := replica.url_of(event)) is not None:
            return url
        if has_ended:
            break
        await asyncio.sleep(LOOK_SECONDS)
    raise TimeoutError(replica.log.read_text())


def variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings as the environment variables that the service reads."""
    return {f"ASSET_SYNC_{name}": value for name, value in settings.items()}


def decoded(records: Iterable[Stored]) -> list[dict[str, Any]]:
    """Return the JSON values of these records; a tombstone is left out."""
    return [json.loads(value) for _, value, _ in records if value is not None]
