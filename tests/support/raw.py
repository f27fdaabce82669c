"""A system with sources: raw topics, a sources file, and a DAM that is read back from."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import NewTopic

from service.playground.audit import replay, shown
from service.playground.local_system import LoggedProcess, create_topics
from service.playground.pim.server import served
from service.playground.pim.simulator import PimSimulator
from tests.support.service import SystemUnderTest

SOURCES = """
version: 1
hosts:
  dam: {{base: "{dam}", allow_private: true, max_per_second: 1000, timeout_seconds: 5}}
sources:
  bucket:
    topics: [raw.bucket.{suffix}]
    event: {{id: id}}
    for_each: items
    family: family
    code: code
    values:
      label: label
      colour: {{path: colour, table: {{Red: red, Blue: blue}}}}
    rules:
      - {{name: gone, when: {{gone: true}}, do: delete}}
      - {{name: kept, do: upsert}}
  thin:
    topics: [raw.thin.{suffix}]
    identity: id
    event: {{id: id}}
    fetch: {{host: dam, url: "/assets/{{id}}", not_found: skip}}
    family: family
    code: $event.id
    values: {{label: title}}
    rules:
      - {{name: saved, do: upsert}}
"""
"""Two sources: one whose events hold lists of whole assets, one whose events hold an id alone."""

Item = dict[str, object]


@dataclass
class Dam:
    """A DAM on loopback that knows every asset but those whose id begins with `gone`."""

    status: int = 200
    """What it answers for an asset that it knows; anything else is trouble."""
    sick: frozenset[str] = frozenset()
    """Assets for which it answers 500, whatever the status."""
    seconds: float = 0.0
    reads: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer the read of one asset."""
        asset = request.match_info["id"]
        self.reads[asset] += 1
        await asyncio.sleep(self.seconds)
        if asset in self.sick:
            return web.Response(status=500)
        if self.status != 200:
            return web.Response(status=self.status)
        if asset.startswith("gone"):
            return web.Response(status=404)
        return web.json_response({"family": "packshots", "title": f"Title of {asset}"})


@contextlib.asynccontextmanager
async def dam_served(dam: Dam) -> AsyncIterator[str]:
    """Serve a DAM, and give its address."""
    application = web.Application()
    application.router.add_get("/assets/{id}", dam.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass
class RawSystem(SystemUnderTest):
    """A system whose events come from raw topics."""

    dam: Dam = field(kw_only=True)
    dam_url: str = field(kw_only=True)
    raw: dict[str, list[Item]] = field(default_factory=dict)
    """The items of each published raw record, by `TOPIC/PARTITION/OFFSET`."""

    @property
    def raw_topics(self) -> dict[str, str]:
        """The raw topic of each source."""
        return {source: f"raw.{source}.{self.suffix}" for source in ("bucket", "thin")}

    async def create_topics(self) -> None:
        await super().create_topics()
        topics = [NewTopic(name, self.partitions, 1) for name in self.raw_topics.values()]
        await create_topics(self.bootstrap, topics)
        self.write_sources(SOURCES.format(dam=self.dam_url, suffix=self.suffix))

    def write_sources(self, text: str) -> None:
        """Write the sources file of the programs that start from now on."""
        self.sources_file.write_text(text)

    @property
    def sources_file(self) -> Path:
        return self.folder / "sources.yaml"

    def settings(self) -> dict[str, str]:
        """Return the settings of a replica, with the sources file."""
        return super().settings() | {"SOURCES_FILE": str(self.sources_file)}

    def start_translate(self, **settings: str) -> LoggedProcess:
        """Start one more replica of `translate`."""
        return self.start_program("translate", **settings)

    async def publish_raw(
        self, source: str, records: Iterable[tuple[int, list[Item]]], **headers: str
    ) -> list[str]:
        """Write raw records to the partitions that they name; return their ids.

        A record of `thin` has one item, which is its whole event.
        """
        topic = self.raw_topics[source]
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=5)
        await producer.start()
        sent = []
        for number, (partition, items) in enumerate(records):
            event = {"id": f"e{number}", "items": items} if source == "bucket" else items[0]
            encoded = [(name, text.encode()) for name, text in headers.items()]
            value = json.dumps(event).encode()
            future = await producer.send(topic, value, partition=partition, headers=encoded)
            sent.append((future, items))
        ids = []
        for future, items in sent:
            stored = await future
            ids.append(f"{topic}/{stored.partition}/{stored.offset}")
            self.raw[ids[-1]] = items
        await producer.stop()
        return ids

    async def changes(
        self, count: int, seconds: float = 120.0, quiet_seconds: float = 1.0
    ) -> list[ConsumerRecord]:
        """Return the committed records of the events topic, once there are `count`."""
        return await self.records(self.events, count, seconds, quiet_seconds=quiet_seconds)

    def expected(self) -> dict[str, str]:
        """Return what each part of the published records has to become, by its id."""
        return {
            f"{record_id}#{number}": _expected(item)
            for record_id, items in self.raw.items()
            for number, item in enumerate(items)
        }

    async def assert_translated_once(self, seconds: float = 120.0) -> list[dict[str, Any]]:
        """Check that each part became a change or an outcome, once; return translate's outcomes."""
        expected = self.expected()
        actions = {part: what for part, what in expected.items() if what in {"upsert", "delete"}}
        changes = [json.loads(one.value) for one in await self.changes(len(actions), seconds)]
        types = {"upsert": "asset-sync.asset.upserted.v1", "delete": "asset-sync.asset.deleted.v1"}
        found = Counter((change["id"], change["type"]) for change in changes)
        wanted = Counter((part, types[what]) for part, what in actions.items())
        assert found == wanted, (found - wanted, wanted - found, self.logs()[-5000:])
        ends = len(expected) - len(actions)
        outcomes = [
            outcome
            for outcome in await self.outcome_data(ends, seconds)
            if outcome["data"]["mapping"] is not None
        ]
        reasons = Counter((one["id"], one["data"]["reason"]) for one in outcomes)
        assert reasons == Counter(
            (part, what) for part, what in expected.items() if part not in actions
        ), self.logs()[-5000:]
        return outcomes

    async def assert_carried(self, seconds: float = 120.0) -> None:
        """Check that `run` applied each change once, and that the PIM is as if one by one."""
        expected = self.expected().values()
        actions = [what for what in expected if what in {"upsert", "delete"}]
        outcomes = [
            outcome
            for outcome in await self.outcome_data(len(expected), seconds)
            if outcome["data"]["mapping"] is None
        ]
        changes = await self.changes(len(actions))
        values = {(one.partition, one.offset): one.value for one in changes}
        ids = Counter(outcome["id"] for outcome in outcomes)
        assert ids == Counter(f"{self.events}/{number}/{offset}" for number, offset in values), (
            self.logs()[-5000:]
        )
        causes = Counter(outcome["causationid"] for outcome in outcomes)
        assert causes == Counter(json.loads(value)["id"] for value in values.values())
        pim = {key: shown(asset) for key, asset in self.pim.state.items()}
        assert pim == replay(values, outcomes)
        assert pim == self._by_hand(), "the last change of each asset wins"

    def _by_hand(self) -> dict[tuple[str, str], dict[tuple[str, str | None, str | None], object]]:
        """Return the assets as the raw records leave them, in the order of their partitions."""

        def order(entry: tuple[str, list[Item]]) -> tuple[str, int]:
            partition, _, offset = entry[0].rpartition("/")
            return partition, int(offset)

        assets: dict[tuple[str, str], dict[tuple[str, str | None, str | None], object]] = {}
        for _, items in sorted(self.raw.items(), key=order):
            for item in items:
                key = (str(item.get("family", "packshots")), str(item.get("code", item.get("id"))))
                what = _expected(item)
                if what == "delete":
                    assets.pop(key, None)
                elif what == "upsert":
                    asset = assets.setdefault(key, {})
                    asset["label", None, None] = item.get("label", f"Title of {key[1]}")
                    if "colour" in item:
                        asset["colour", None, None] = str(item["colour"]).lower()
        return assets


def _expected(item: Item) -> str:
    """Return what an item has to become: an action, or the reason of its outcome."""
    if "code" not in item:
        return "not_found" if str(item["id"]).startswith("gone") else "upsert"
    if "family" not in item:
        return "no_family"
    if item.get("gone"):
        return "delete"
    return "unmappable" if item.get("colour") == "Teal" else "upsert"


def bucket_records(count: int, partitions: int, items: int = 3) -> list[tuple[int, list[Item]]]:
    """Return records with items of all kinds; the records of an asset are in one partition."""
    made: list[tuple[int, list[Item]]] = []
    for number in range(count):
        partition = number % partitions
        made.append((partition, [_item(number, part, partition) for part in range(items)]))
    return made


def _item(number: int, part: int, partition: int) -> Item:
    kind = (number + 3 * part) % 11
    asset = f"a{partition}_{(number + part) % 7}"
    item: Item = {"family": "packshots" if part % 2 else "manuals", "code": asset}
    if kind == 1:
        return {"code": asset}
    if kind == 2:
        return item | {"gone": True}
    if kind == 3:
        return item | {"label": f"L{number}", "colour": "Teal"}
    return item | {"label": f"L{number}.{part}", "colour": ("Red", "Blue")[number % 2]}


def thin_records(count: int, partitions: int, assets: int = 20) -> list[tuple[int, list[Item]]]:
    """Return thin events; some assets are gone by the time that they are read."""
    made: list[tuple[int, list[Item]]] = []
    for number in range(count):
        asset = number % assets
        name = f"gone{asset}" if asset % 9 == 4 else f"t{asset}"
        made.append((asset % partitions, [{"id": name}]))
    return made


@contextlib.asynccontextmanager
async def raw_system(bootstrap: str, folder: Path, pim: PimSimulator) -> AsyncIterator[RawSystem]:
    """Give a system with sources: PIM and DAM serve, the topics exist; all ends with it."""
    dam = Dam()
    async with (
        dam_served(dam) as dam_url,
        served(pim) as url,
        RawSystem(bootstrap, url, pim.tokens, folder, pim=pim, dam=dam, dam_url=dam_url) as system,
    ):
        yield system
