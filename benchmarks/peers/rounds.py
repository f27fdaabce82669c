"""Two rounds for each bridge: one in peace, one with faults; and what the topics and the PIM say.

A bridge is held by what everybody can see: outcomes that a committed reader gets, and assets in
the PIM. What it says of itself is not asked.
"""

import asyncio
import contextlib
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.peers.bridges import TOKEN, Bridge
from benchmarks.rig import UNPROXIED, Event, Rig, cpu_seconds, peak_memory_bytes, upsert

PARTITIONS = 6
FAMILIES = 20
BLOCK = 60
AGAIN = 6
"""Of a block's events, so many change an asset of the same block once more."""
CALL_SECONDS = 0.1
LOOK_SECONDS = 0.2
ROUND_SECONDS_MAX = 240.0
SILENCE_SECONDS_MAX = 45.0
"""Without a new outcome for so long, nothing more is expected of a bridge."""
OUTAGE_SECONDS = 10.0
KILL_SECONDS = 0.5
"""After the outcomes that call for it: in the midst of what follows."""
POISONED = 7
"""The number of the asset whose calls fail with 500, whatever else they carry."""


@dataclass
class Told:
    """What a committed reader of the outcomes saw."""

    statuses: dict[str, list[str]] = field(default_factory=dict)
    """Of each event, by its id, in turn."""
    order: list[str] = field(default_factory=list)
    seen_at: float = 0.0
    """When the last new one came (monotonic)."""

    def take(self, value: bytes) -> None:
        """One outcome."""
        outcome = json.loads(value)
        record_id = outcome["id"]
        if record_id not in self.statuses:
            self.seen_at = time.monotonic()
        self.statuses.setdefault(record_id, []).append(outcome["data"]["status"])
        self.order.append(record_id)


@dataclass(frozen=True)
class Speed:
    """The round in peace."""

    events_per_second: float
    cpu_seconds_per_thousand: float
    memory_bytes: int
    calls: int
    throttled: int


@dataclass(frozen=True)
class Harm:
    """The round with faults: events by what went wrong with them."""

    lost: int
    """Valid, and the PIM does not have them in the end."""
    duplicated: int
    """With more than one outcome."""
    disordered: int
    """Told before an earlier change of the same asset."""
    untold: int
    """Without any outcome."""


@dataclass
class Round:
    """A bridge at work on its own topics."""

    bridge: Bridge
    at: Rig
    events: list[Event]
    pim: str
    told: Told = field(default_factory=Told)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the bridge, or start it anew."""
        log = self.at.folder / f"bridge-{self.at.name}.log"
        self.process = self.bridge.start(self.at, self.pim, log)

    def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def until(self, share: float) -> None:
        """Wait until that share of the events is told, or none is any more."""
        began = self.told.seen_at = time.monotonic()
        while len(self.told.statuses) < share * len(self.events):
            now = time.monotonic()
            if now - self.told.seen_at > SILENCE_SECONDS_MAX or now - began > ROUND_SECONDS_MAX:
                return
            assert self.process is not None
            if self.process.poll() is not None:  # as Kubernetes would
                self.start()
            await asyncio.sleep(LOOK_SECONDS)


async def in_peace(bridge: Bridge, at: Rig) -> Speed:
    """How fast, and at what cost: from a tenth of the outcomes to nine tenths."""
    async with _round(bridge, at) as going:
        going.start()
        await going.until(0.1)
        assert going.process is not None
        first = (time.monotonic(), len(going.told.statuses), cpu_seconds(going.process.pid))
        await going.until(0.9)
        last = (time.monotonic(), len(going.told.statuses), cpu_seconds(going.process.pid))
        await going.until(1.0)
        memory = peak_memory_bytes(going.process.pid)
        counts = _ask(going.pim, "/_control/counts")
        told = max(1, last[1] - first[1])
        return Speed(
            told / max(last[0] - first[0], LOOK_SECONDS),
            1000 * (last[2] - first[2]) / told,
            memory,
            counts.get("upsert", 0),
            counts.get("throttled", 0),
        )


async def under_fire(bridge: Bridge, at: Rig) -> Harm:
    """A poisoned asset from the start, two kills, and an outage of ten seconds between them."""
    async with _round(bridge, at) as going:
        code = f"asset_{POISONED:07}"
        _ask(
            going.pim,
            "/_control/faults",
            [{"route": "upsert", "asset": code, "status": 500, "times": None}],
        )
        going.start()
        await going.until(0.2)
        await asyncio.sleep(KILL_SECONDS)
        going.kill()
        going.start()
        await going.until(0.4)
        _ask(going.pim, "/_control/faults", [{"route": "any", "status": 503, "times": None}])
        await asyncio.sleep(OUTAGE_SECONDS)
        _ask(going.pim, "/_control/faults", None, method="DELETE")
        _ask(
            going.pim,
            "/_control/faults",
            [{"route": "upsert", "asset": code, "status": 500, "times": None}],
        )
        await going.until(0.6)
        await asyncio.sleep(KILL_SECONDS)
        going.kill()
        going.start()
        await going.until(1.0)
        return _harm(going, poisoned=code)


def _harm(going: Round, poisoned: str) -> Harm:
    statuses = going.told.statuses
    last = {}
    numbers = {}
    for number, (key, _) in enumerate(going.events):
        assert key is not None
        last[key.decode()] = number
        record_id = f"{going.at.events_topic}/{number % PARTITIONS}/{number // PARTITIONS}"
        numbers[record_id] = number
    stored = {
        f"{asset['asset_family_code']}/{asset['code']}": asset["values"]["caption"][0]["data"]
        for asset in _ask(going.pim, "/_control/assets")
    }
    lost = sum(
        stored.get(path) != _caption(number)
        for path, number in last.items()
        if not path.endswith(poisoned)
    )
    return Harm(
        lost,
        sum(len(several) > 1 for several in statuses.values()),
        _disordered(going, numbers),
        len(going.events) - len(statuses),
    )


def _disordered(going: Round, numbers: dict[str, int]) -> int:
    """Events whose first outcome came before that of an earlier change of the same asset."""
    highest: dict[bytes | None, int] = {}
    seen: set[str] = set()
    count = 0
    for record_id in going.told.order:
        if record_id in seen:
            continue
        seen.add(record_id)
        number = numbers[record_id]
        key = going.events[number][0]
        count += number < highest.get(key, -1)
        highest[key] = max(number, highest.get(key, -1))
    return count


@contextlib.asynccontextmanager
async def _round(bridge: Bridge, at: Rig) -> AsyncIterator[Round]:
    events = _events(bridge.events)
    await at.create_topics()
    await at.publish(events)
    pim = at.start_pim(FAMILIES, call_seconds=CALL_SECONDS, app_token=TOKEN)
    going = Round(bridge, at, events, pim)
    reading = asyncio.ensure_future(_read(at, going.told))
    try:
        yield going
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        if going.process is not None and going.process.poll() is None:
            going.process.send_signal(signal.SIGKILL)
            going.process.wait()
        at.end()


def _events(count: int) -> list[Event]:
    """Upserts; in each block the last few change assets of the block once more."""
    events = []
    for number in range(count):
        record_id = number % BLOCK
        asset = (
            number - record_id + (record_id + AGAIN) % BLOCK
            if record_id >= BLOCK - AGAIN
            else number
        )
        events.append(upsert(asset % FAMILIES, asset, caption=_caption(number)))
    return events


def _caption(number: int) -> str:
    return f"Change {number}"


async def _read(at: Rig, told: Told) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=at.broker.bootstrap_servers, isolation_level="read_committed"
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(at.outcomes_topic, n) for n in range(at.partitions)])
        await consumer.seek_to_beginning()
        while True:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    told.take(record.value)
    finally:
        await consumer.stop()


def _ask(pim: str, path: str, content: Any = None, method: str | None = None) -> Any:  # noqa: ANN401 - JSON
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(  # noqa: S310 - loopback
        pim + path, body, {"content-type": "application/json"}, method=method
    )
    with UNPROXIED.open(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None
