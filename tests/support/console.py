"""Outcomes for the console's tests, its index in a folder, and the console as a process."""

import json
import os
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from service.adapters.outcome_index.index import Limits, OutcomeIndex
from service.console.entry import Entry, StoredOutcome, entry_of
from service.core.facts import Fact
from service.playground.local_system import (
    NOT_INHERITED,
    LoggedProcess,
    address,
    create_topics,
    variables,
)
from tests.support.admin import admin_of
from tests.support.positions import delete_topic
from tests.support.service import ROOT

NOW_MS = 1_795_000_000_000
LIMITS = Limits(256 * 1024 * 1024, 30)
TOPIC = "cluster/outcomes/id"


def outcome(number: int = 0, **data: object) -> dict[str, Any]:
    """Return an outcome of a change that was applied, with other members of `data` as given."""
    whole: dict[str, object] = {
        "status": "applied",
        "result": "updated",
        "reason": None,
        "message": None,
        "errors": [],
        "action": "upsert",
        "asset_family": "packshots",
        "code": f"sku_{number}",
        "event": {"id": f"evt-{number}", "context": {"dam_id": f"DAM-{number}"}},
        "merged_into": None,
        "superseded_by": None,
    } | data
    return {
        "specversion": "1.0",
        "type": f"asset-sync.asset.{whole['status']}.v1",
        "source": "/asset-sync/test",
        "id": f"events/0/{number}",
        "time": "2026-11-23T10:15:02.114Z",
        "data": whole,
    }


def stored(number: int = 0, at_ms: int | None = None, **data: object) -> StoredOutcome:
    """Return the record of such an outcome; without a time, a second after the one before it."""
    value = json.dumps(outcome(number, **data)).encode()
    return StoredOutcome(0, number, NOW_MS + 1000 * number if at_ms is None else at_ms, value)


def entry(number: int = 0, at_ms: int | None = None, **data: object) -> Entry:
    """Return what is kept of such an outcome."""
    found = entry_of(stored(number, at_ms, **data))
    assert found is not None
    return found


_opened: list[OutcomeIndex] = []


def close_indexes() -> None:
    """Close the files that tests left open as a kill -9 does."""
    while _opened:
        _opened.pop().close()


@dataclass
class IndexUnderTest:
    """An index in a folder, with the facts that it noted and a clock that tests set."""

    folder: Path
    limits: Limits = LIMITS
    now_ms: int = NOW_MS
    facts: list[Fact] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.index = OutcomeIndex(self.folder, self.limits, self.facts.append, lambda: self.now_ms)

    def open(self, topic: str = TOPIC) -> Mapping[int, int]:
        _opened.append(self.index)
        return self.index.open(topic)

    def write(self, records: Iterable[StoredOutcome], positions: Mapping[int, int]) -> bool:
        return self.index.write(list(records), positions)

    def names(self) -> list[str]:
        return [fact.name for fact in self.facts]


class _Page(HTMLParser):
    """Collects what a reader of the page meets."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read_page(page: str) -> _Page:
    """Return the texts and the elements of a page."""
    parser = _Page()
    parser.feed(page)
    parser.close()
    return parser


def links_of(page: str) -> list[str]:
    """Return the addresses of the links of a page."""
    elements = read_page(page).elements
    return [attributes["href"] or "" for name, attributes in elements if name == "a"]


@dataclass
class ConsoleUnderTest:
    """One console at a time, with an outcomes topic of its own."""

    bootstrap: str
    folder: Path
    partitions: int = 3
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    processes: list[LoggedProcess] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return f"outcomes.{self.suffix}"

    async def create_topic(self, partitions: int | None = None) -> None:
        await create_topics(
            self.bootstrap, [NewTopic(self.topic, partitions or self.partitions, 1)]
        )

    async def delete_topic(self) -> None:
        async with admin_of(self.bootstrap) as admin:
            await delete_topic(admin, self.topic)

    async def write(self, outcomes: Iterable[dict[str, Any] | bytes]) -> None:
        """Write outcomes, in turn to each partition."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=20)
        await producer.start()
        for number, one in enumerate(outcomes):
            value = one if isinstance(one, bytes) else json.dumps(one).encode()
            await producer.send(self.topic, value, partition=number % self.partitions)
        await producer.stop()

    def settings(self) -> dict[str, str]:
        return {
            "KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA__OUTCOMES_TOPIC": self.topic,
            "HTTP__HOST": "127.0.0.1",
            "HTTP__PORT": "0",
            "CONSOLE__HOST": "127.0.0.1",
            "CONSOLE__PORT": "0",
            "CONSOLE__DIR": str(self.folder / "index"),
        }

    def environ(self, **settings: str) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith(NOT_INHERITED)}
        return inherited | variables(self.settings() | settings) | {"PYTHONPATH": str(ROOT)}

    def start(self, **settings: str) -> LoggedProcess:
        """Start a console, with more or other settings."""
        log = self.folder / f"console-{len(self.processes)}.log"
        command = [sys.executable, "-m", "service", "console"]
        process = LoggedProcess(command, self.environ(**settings), log)
        self.processes.append(process)
        return process

    async def url(self, event: str = "console.listening") -> str:
        """Return the address of a port of the newest console, once it listens."""
        return await address(self.processes[-1], event)

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return the status and the text of a page."""
        url = await self.url() + path
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
            return answer.status, await answer.text()

    async def metrics(self) -> str:
        url = await self.url("http.listening") + "/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    def indexer(self) -> int:
        """Return the process that fills the index of the newest console, a child of its own."""
        pid = self.processes[-1].pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    def logs(self) -> str:
        return "\n".join(process.log.read_text() for process in self.processes)

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
