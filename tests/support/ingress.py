"""A running ingress for the tests: its topics, its sources file, its process and its senders."""

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from service.playground.local_system import (
    NOT_INHERITED,
    LoggedProcess,
    address,
    create_topics,
    variables,
)
from service.webhooks.schemes.body_hmac import BodyHmac
from tests.support.service import ROOT
from tests.support.webhooks import TOPIC_ARN

SECRET = "a-shared-secret"
HMAC = BodyHmac("x-signature", ("hook_secret",), "sha256", "hex", "sha256=")
HMAC_IN_FILE = {"header": "X-Signature", "secret": "hook_secret", "prefix": "sha256="}
"""The same scheme in the sources file."""


@dataclass
class IngressUnderTest:
    """One ingress at a time, with two raw topics of its own."""

    bootstrap: str
    folder: Path
    partitions: int = 3
    verify: Mapping[str, Any] = field(default_factory=lambda: {"hmac": HMAC_IN_FILE})
    """How the sources file says that requests to `/hooks` are verified."""
    secrets: Mapping[str, str] = field(default_factory=lambda: {"hook_secret": SECRET})
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    processes: list[LoggedProcess] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return f"dam.hooks.{self.suffix}"

    @property
    def sns_topic(self) -> str:
        return f"dam.sns.{self.suffix}"

    def sources(self) -> dict[str, Any]:
        """Return the sources file: `hooks` with the scheme that is wanted, and one with SNS."""
        values: dict[str, Any] = {"family": {"const": "packshots"}, "code": "id"}
        return {
            "version": 1,
            "sources": {
                "hooks": {
                    "topics": [self.topic],
                    "identity": "id",
                    "webhook": {
                        "path": "/hooks",
                        "verify": self.verify,
                        "headers": ["X-Topic"],
                    },
                    "rules": [{"do": "upsert"}],
                    **values,
                },
                "sns": {
                    "topics": [self.sns_topic],
                    "parse": ["Message"],
                    "identity": "Message.media_id",
                    "webhook": {"path": "/sns", "verify": {"sns": {"topics": [TOPIC_ARN]}}},
                    "rules": [{"do": "upsert"}],
                    **values,
                },
            },
        }

    async def create_topics(self, **configs: str) -> None:
        names = (self.topic, self.sns_topic)
        await create_topics(
            self.bootstrap,
            [NewTopic(name, self.partitions, 1, topic_configs=configs) for name in names],
        )

    def settings(self) -> dict[str, str]:
        """Return the settings of a replica, and write its sources file."""
        file = self.folder / "sources.yaml"
        file.write_text(json.dumps(self.sources()))
        return {
            "KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "SOURCES_FILE": str(file),
            "HTTP__HOST": "127.0.0.1",
            "HTTP__PORT": "0",
            "INGRESS__HOST": "127.0.0.1",
            "INGRESS__PORT": "0",
            **{f"SECRET__{name.upper()}": secret for name, secret in self.secrets.items()},
        }

    def environ(self, **settings: str) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith(NOT_INHERITED)}
        own = variables(self.settings() | settings)
        return inherited | own | {"PYTHONPATH": str(ROOT)}

    def start(self, **settings: str) -> LoggedProcess:
        """Start a replica, with more or other settings."""
        log = self.folder / f"ingress-{len(self.processes)}.log"
        command = [sys.executable, "-m", "service", "ingress"]
        process = LoggedProcess(command, self.environ(**settings), log)
        self.processes.append(process)
        return process

    async def url(self, event: str = "webhooks.listening") -> str:
        """Return the address of a port of the newest replica, once it listens."""
        return await address(self.processes[-1], event)

    def logs(self) -> str:
        return "\n".join(process.log.read_text() for process in self.processes)

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    async def records(self, topic: str) -> list[Any]:
        """Return all records of a topic."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            assigned = [TopicPartition(topic, number) for number in range(self.partitions)]
            consumer.assign(assigned)
            ends = await consumer.end_offsets(assigned)
            found: list[Any] = []
            while sum([await consumer.position(one) for one in assigned]) < sum(ends.values()):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += records
            return found
        finally:
            await consumer.stop()


@dataclass
class KnownKeys:
    """Stands for the hosts of Amazon and Adobe, with the keys of a test."""

    published: Mapping[str, bytes]
    confirmed: list[str] = field(default_factory=list)

    async def get(self, url: str) -> bytes | None:
        return self.published.get(url)

    async def confirm(self, url: str) -> bool:
        self.confirmed.append(url)
        return True

    async def close(self) -> None:
        """Close nothing."""


def signed(body: bytes, secret: str = SECRET, **headers: str) -> dict[str, str]:
    """Return the headers of a delivery for the source `hooks`."""
    return {**HMAC.signed(body, secret), "content-type": "application/json", **headers}


def body_of(number: int) -> bytes:
    """Return the event with this number; its id is the number."""
    return json.dumps({"id": str(number)}).encode()


@dataclass
class Load:
    """Senders that post events, and what they were answered."""

    sent: Counter[bytes] = field(default_factory=Counter)
    """How often each event was sent."""
    accepted: set[bytes] = field(default_factory=set)
    """The events that were answered with 200."""
    answers: Counter[str] = field(default_factory=Counter)
    """How often each status, or each class of connection error, was met."""
    seconds: list[float] = field(default_factory=list)
    """How long each answer took."""
    retry_after: Counter[str | None] = field(default_factory=Counter)
    """The headers Retry-After of the answers with 503."""
    url: str = ""
    """Where the senders post to; it changes when a replica starts again."""
    pause_seconds: float = 0.05
    """How long a sender waits after a failure."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def send_for_ever(self, session: aiohttp.ClientSession) -> None:
        """Post one event after another, each once."""
        for number in self._numbers:
            await self._send(session, body_of(number))

    async def send_until_accepted(
        self, session: aiohttp.ClientSession, numbers: Iterable[int]
    ) -> None:
        """Post each event again and again until it is answered with 200, as a DAM does."""
        for number in numbers:
            while not await self._send(session, body_of(number)):
                pass

    async def _send(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        """Post an event, and return whether it was accepted; a short pause follows a failure."""
        self.sent[body] += 1
        started = time.monotonic()
        try:
            status = await self._post(session, body)
        except (aiohttp.ClientError, OSError) as error:
            status = type(error).__name__
        self.answers[status] += 1
        if status != str(HTTPStatus.OK.value):
            await asyncio.sleep(self.pause_seconds)
            return False
        self.accepted.add(body)
        self.seconds.append(time.monotonic() - started)
        return True

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> str:
        url = self.url + "/hooks"
        async with session.post(url, data=body, headers=signed(body)) as answer:
            if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
                self.retry_after[answer.headers.get("Retry-After")] += 1
            return str(answer.status)


@contextlib.asynccontextmanager
async def connections() -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a session with as many connections at once as it is used for."""
    timeout = aiohttp.ClientTimeout(total=30)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield session


def flaws_of(load: Load, written: Counter[bytes]) -> dict[str, set[bytes]]:
    """Return the events that a topic with these records breaks a promise for, by the promise.

    A request without an answer may have its record, and is sent again. So an event has at most as
    many records as it was sent, and one that was accepted has at least one.
    """
    flaws = {
        "answered with 200, and not written": load.accepted - written.keys(),
        "written, and never sent": written.keys() - load.sent.keys(),
        "written more often than sent": {
            body for body in load.sent if written[body] > load.sent[body]
        },
    }
    return {promise: events for promise, events in flaws.items() if events}


async def assert_nothing_is_lost(ingress: IngressUnderTest, load: Load) -> None:
    written = Counter(record.value for record in await ingress.records(ingress.topic))
    assert flaws_of(load, written) == {}
    assert load.accepted


def headers_of(record: Any) -> Mapping[str, bytes]:  # noqa: ANN401 - aiokafka's
    """Return the headers of a record."""
    return dict(record.headers)
