"""Two rounds for each bridge: one without faults, one with them.

A bridge is judged by what everybody can see: outcomes that a committed reader gets, and assets in
the PIM. Its own metrics and logs do not count.
"""

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.corpus import corpus_event
from benchmarks.peers.bridges import TOKEN, Bridge
from benchmarks.peers.watching import Mark, mark, until
from benchmarks.system import MeasuredSystem, measured_system, pim_process, reading
from benchmarks.usage import UNPROXIED, peak_memory_bytes
from service.playground.embedded_kafka import EmbeddedKafka
from service.playground.local_system import Event, LoggedProcess

FAULTS = "/_control/faults"
PARTITIONS = 6
FAMILIES = 20
BLOCK = 60
AGAIN = 6
"""How many events of a block change an asset of the same block once more."""
CALL_SECONDS = 0.1
SILENCE_SECONDS_MAX = 75.0
"""A round ends when there was no new outcome for this long. The poisoned change of asset-sync may
be silent for its budget of 24 s, one more delay of 30 s, and the session timeout after a kill."""
OUTAGE_SECONDS = 10.0
KILL_SECONDS = 0.5
"""A kill comes this long after the outcomes that trigger it, in the middle of the next work."""
POISONED = 7
"""The number of the asset whose calls fail with 500, whatever else they carry."""


@dataclass
class SeenOutcomes:
    """The outcomes that a committed reader saw."""

    statuses: dict[str, list[str]] = field(default_factory=dict)
    """The statuses of each event in their order, by the event's id."""
    order: list[str] = field(default_factory=list)

    def take(self, value: bytes) -> None:
        """Record one outcome."""
        outcome = json.loads(value)
        record_id = outcome["id"]
        self.statuses.setdefault(record_id, []).append(outcome["data"]["status"])
        self.order.append(record_id)


@dataclass(frozen=True)
class Speed:
    """The result of the round without faults."""

    events_per_second: float
    cpu_seconds_per_thousand: float
    memory_bytes: int
    calls: int
    throttled: int


@dataclass(frozen=True)
class Harm:
    """The result of the round with faults: what went wrong, and how often."""

    lost: int
    """Assets, except the poisoned one, whose state in the PIM is not that of their last event."""
    duplicated: int
    """Events with more than one outcome."""
    disordered: int
    """Events whose outcome came after that of a later event of the same asset."""
    without_outcome: int
    """Events without an outcome."""


@dataclass
class Round:
    """A bridge at work on its own topics."""

    bridge: Bridge
    system: MeasuredSystem
    events: list[Event]
    seen: SeenOutcomes = field(default_factory=SeenOutcomes)
    process: LoggedProcess | None = None

    def start(self) -> None:
        """Start the bridge, or start it again."""
        self.process = self.bridge.start(self.system)

    def kill(self) -> None:
        """Kill the bridge with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def add_fault(self, fault: dict[str, Any]) -> None:
        """Make calls to the PIM fail."""
        _ask(self.system.pim_url, FAULTS, [fault])

    async def until(self, share: float) -> None:
        """Wait until this share of the events has outcomes, or no more outcomes come."""
        wanted = share * len(self.events)
        await until(
            lambda: len(self.seen.statuses), wanted, self._keep_running, SILENCE_SECONDS_MAX
        )

    def mark(self) -> Mark:
        """Return how many events have outcomes by now, and what the bridge has used."""
        assert self.process is not None
        return mark(self.process, len(self.seen.statuses))

    def _keep_running(self) -> None:
        assert self.process is not None
        if self.process.poll() is not None:
            self.start()


async def without_faults(bridge: Bridge, broker: EmbeddedKafka, folder: Path) -> Speed:
    """Measure speed and cost from a tenth of the outcomes to nine tenths."""
    async with bridge_at_work(bridge, bridge.events, broker, folder) as going:
        going.start()
        await going.until(0.1)
        first = going.mark()
        await going.until(0.9)
        took = going.mark().since(first)
        await going.until(1.0)
        assert going.process is not None
        memory = peak_memory_bytes(going.process.pid)
        counts = _ask(going.system.pim_url, "/_control/counts")
        return Speed(
            took.done / took.seconds,
            1000 * took.cpu_seconds / took.done,
            memory,
            counts.get("upsert", 0),
            counts.get("throttled", 0),
        )


async def with_faults(bridge: Bridge, broker: EmbeddedKafka, folder: Path) -> Harm:
    """Poison an asset from the start, kill twice, with an outage of ten seconds in between."""
    async with bridge_at_work(bridge, bridge.events_with_faults, broker, folder) as going:
        code = f"asset_{POISONED:07}"
        poison = {"route": "upsert", "asset": code, "status": 500, "times": None}
        outage = {"route": "any", "status": 503, "times": None}
        going.add_fault(poison)
        going.start()
        await going.until(0.2)
        await asyncio.sleep(KILL_SECONDS)
        going.kill()
        going.start()
        await going.until(0.4)
        going.add_fault(outage)
        await asyncio.sleep(OUTAGE_SECONDS)
        _ask(going.system.pim_url, FAULTS, None, method="DELETE")
        going.add_fault(poison)
        await going.until(0.6)
        await asyncio.sleep(KILL_SECONDS)
        going.kill()
        going.start()
        await going.until(1.0)
        return _harm(going, poisoned=code)


def _harm(going: Round, poisoned: str) -> Harm:
    statuses = going.seen.statuses
    last = {}
    numbers = {}
    for number, event in enumerate(going.events):
        assert event.key is not None
        last[event.key.decode()] = number
        record_id = f"{going.system.events}/{number % PARTITIONS}/{number // PARTITIONS}"
        numbers[record_id] = number
    stored = {
        f"{asset['asset_family_code']}/{asset['code']}": _english(asset["values"]["caption"])
        for asset in _ask(going.system.pim_url, "/_control/assets")
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
    """Count events whose first outcome came after that of a later event of their asset."""
    highest: dict[bytes | None, int] = {}
    seen: set[str] = set()
    count = 0
    for record_id in going.seen.order:
        if record_id in seen:
            continue
        seen.add(record_id)
        number = numbers[record_id]
        key = going.events[number].key
        count += number < highest.get(key, -1)
        highest[key] = max(number, highest.get(key, -1))
    return count


@contextlib.asynccontextmanager
async def bridge_at_work(
    bridge: Bridge, count: int, broker: EmbeddedKafka, folder: Path
) -> AsyncIterator[Round]:
    """Load so many events into topics of their own, for a bridge that is not started yet."""
    events = _events(count)
    with pim_process(folder, FAMILIES, call_seconds=CALL_SECONDS, app_token=TOKEN) as pim:
        async with measured_system(broker, folder, pim, PARTITIONS) as system:
            await system.load(events)
            going = Round(bridge, system, events)
            async with reading(system, system.outcomes, going.seen.take):
                yield going


def _events(count: int) -> list[Event]:
    """Return upserts; in each block the last few change assets of the block once more."""
    events = []
    for number in range(count):
        record_id = number % BLOCK
        asset = (
            number - record_id + (record_id + AGAIN) % BLOCK
            if record_id >= BLOCK - AGAIN
            else number
        )
        events.append(corpus_event(asset % FAMILIES, asset, caption=_caption(number)))
    return events


def _caption(number: int) -> str:
    return f"Change {number}"


def _english(captions: Iterable[Mapping[str, Any]]) -> str | None:
    return next((one["data"] for one in captions if one["locale"] == "en_US"), None)


def _ask(pim: str, path: str, content: Any = None, method: str | None = None) -> Any:  # noqa: ANN401 - JSON
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(  # noqa: S310 - loopback
        pim + path, body, {"content-type": "application/json"}, method=method
    )
    with UNPROXIED.open(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None
