"""The whole system on this machine: broker, PIM, service, events; killed once in the middle.

Everything is real but the PIM: events go through Apache Kafka into the simulator over HTTP, and
the outcomes are checked against the simulator's state.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from service.adapters.kafka.topics import NewRecord, read, write
from service.playground.embedded_kafka import EmbeddedKafka, embedded_kafka
from service.playground.pim_simulator import PimSimulator, serve
from service.settings import KafkaSettings

FAMILIES = ("packshots", "ambient", "videos", "manuals")
ATTRIBUTES = frozenset({"label", "photographer", "main_colors", "pages", "usable", "caption"})
PARTITIONS = 6
SECONDS_MAX = 120.0
CALL_SECONDS = 0.04
LOOK_SECONDS = 1.5

Progress = Callable[[str], None]


@dataclass
class DemoResult:
    """What the demo saw; `flaws` is empty where the numbers add up."""

    events: int
    statuses: Counter[str]
    pim_calls: int
    assets_in_pim: int
    assets_expected: int
    duplicates: int
    missing: int
    seconds: float
    flaws: list[str] = field(default_factory=list)


def run_demo(
    events: int, progress: Progress, keep: Callable[[str, str], None] | None
) -> DemoResult:
    """Run the demo; `keep` is called at the end, with the addresses, while all is still up."""
    with embedded_kafka() as broker, TemporaryDirectory(prefix="asset-sync-demo-") as folder:
        progress(f"Apache Kafka listens on {broker.bootstrap_servers}")
        return asyncio.run(_run(broker, Path(folder), events, progress, keep))


async def _run(
    broker: EmbeddedKafka,
    folder: Path,
    events: int,
    progress: Progress,
    keep: Callable[[str, str], None] | None,
) -> DemoResult:
    began = time.monotonic()
    kafka = KafkaSettings.model_validate({"bootstrap_servers": broker.bootstrap_servers})
    await _create_topics(kafka)
    pim = PimSimulator(dict.fromkeys(FAMILIES, ATTRIBUTES), call_seconds=CALL_SECONDS)
    runner, url = await serve(pim)
    progress(f"PIM simulator listens on {url}")
    replica = _start(broker, url, pim, folder)
    try:
        await write(kafka, kafka.events_topic_names[0], believable_events(events))
        progress(f"{events} events published; the service works")
        outcomes = await _follow(kafka, events // 3, progress)
        replica.kill()
        replica.wait()
        progress("the service was killed (kill -9) in the middle; starting it again")
        replica = _start(broker, url, pim, folder)
        outcomes = await _follow(kafka, events, progress)
        if keep is not None:
            keep(broker.bootstrap_servers, url)
        return _judge(outcomes, events, pim, time.monotonic() - began)
    finally:
        replica.terminate()
        await asyncio.to_thread(replica.wait, 30)
        await runner.cleanup()


def believable_events(count: int) -> list[NewRecord]:
    """Creates, updates with locales, merges, deletes, tombstones, and what a DAM gets wrong."""
    chance = random.Random(7)  # noqa: S311 - the same events each time
    return [_event(chance, number, count) for number in range(count)]


def _event(chance: random.Random, number: int, count: int) -> NewRecord:
    family = chance.choice(FAMILIES)
    code = f"dam_{chance.randrange(max(1, count // 4))}"
    dice = chance.random()
    key = f"{family}/{code}".encode()
    if dice < 0.005:
        return NewRecord(key, b"\xffnot json")
    if dice < 0.06:
        return NewRecord(key, None)
    if dice < 0.01 + 0.05 + 0.01:
        family = "pack_shots"
    kind = "com.acme.dam.asset.updated.v1" if dice < 0.97 else "com.acme.dam.folder.moved.v1"
    values: dict[str, object] = {
        "photographer": chance.choice(("ben_levy", "ann_chu")),
        "pages": chance.randrange(40),
        "label": [{"locale": "en_US", "channel": None, "data": f"Asset {number}"}],
        "caption": [{"locale": "fr_FR", "channel": None, "data": f"Vue {number}"}],
    }
    if 0.96 < dice < 0.97:
        values = {"colour_typo": "teal"}
    event = {
        "specversion": "1.0",
        "id": f"evt-{number}",
        "source": "/dam/acme",
        "type": kind,
        "data": {"asset_family": family, "code": code, "values": values},
    }
    headers = (("content-type", b"application/cloudevents+json"),)
    return NewRecord(key, json.dumps(event).encode(), headers)


def _start(
    broker: EmbeddedKafka, url: str, pim: PimSimulator, folder: Path
) -> subprocess.Popen[bytes]:
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "KAFKA__SESSION_TIMEOUT_SECONDS": "3",
        "PIM__BASE_URL": url,
        "PIM__CLIENT_ID": pim.client_id,
        "PIM__CLIENT_SECRET": pim.client_secret,
        "PIM__USERNAME": pim.username,
        "PIM__PASSWORD": pim.password,
        "WINDOW__MAX_SECONDS": "0.5",
        "HTTP__HOST": "127.0.0.1",
        "HTTP__PORT": "0",
    }
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ASSET_SYNC_")}
    environ |= {f"ASSET_SYNC_{name}": value for name, value in settings.items()}
    with (folder / "service.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "service", "run"],
            env=environ,
            stdout=log,
            stderr=log,
            cwd=folder,
        )


async def _create_topics(kafka: KafkaSettings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    names = (*kafka.events_topic_names, kafka.outcomes_topic, kafka.dead_letters_topic)
    await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
    await admin.close()


async def _follow(kafka: KafkaSettings, wanted: int, progress: Progress) -> list[dict[str, Any]]:
    """Every outcome so far, once there are as many as wanted (or the time is up)."""
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + SECONDS_MAX
    while len(found) < wanted and time.monotonic() < deadline:
        found = []
        async for record in read(kafka, kafka.outcomes_topic):
            if record.value is not None:
                found.append(json.loads(record.value))
        progress(f"{len(found)} outcomes")
        await asyncio.sleep(LOOK_SECONDS if len(found) < wanted else 0)
    return found


def _judge(
    outcomes: list[dict[str, Any]], events: int, pim: PimSimulator, seconds: float
) -> DemoResult:
    """Hold the outcomes against the events and the PIM's state."""
    ids = Counter(outcome["id"] for outcome in outcomes)
    expected: set[tuple[str, str]] = set()
    for outcome in sorted(outcomes, key=lambda found: int(found["data"]["origin"]["offset"])):
        data = outcome["data"]
        asset = (data["asset_family"], data["code"])
        if data["status"] == "applied" and data["action"] == "delete":
            expected.discard(asset)
        elif data["status"] == "applied":
            expected.add(asset)
    result = DemoResult(
        events=events,
        statuses=Counter(outcome["data"]["status"] for outcome in outcomes),
        pim_calls=pim.calls,
        assets_in_pim=len(pim.assets),
        assets_expected=len(expected),
        duplicates=sum(times - 1 for times in ids.values()),
        missing=events - len(ids),
        seconds=seconds,
    )
    if result.duplicates:
        result.flaws.append(f"{result.duplicates} outcomes stand twice")
    if result.missing:
        result.flaws.append(f"{result.missing} events have no outcome")
    if expected != set(pim.assets):
        result.flaws.append("the PIM's assets are not what the outcomes say")
    return result
