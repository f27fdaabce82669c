"""Judges a chaos run: P1, P2, P3, P6 and P8, from topics and the PIM's state alone.

The auditor knows the contract and the playground's replay; shares no rule with the service.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.playground.audit import audit
from service.playground.local_system import Stored
from tests.chaos.files import with_urls
from tests.chaos.system import CALLS_AT_ONCE, ChaosSystem

MEMORY_BYTES_MAX = 250 * 1024 * 1024

RecordId = tuple[int, int]


@dataclass
class Verdict:
    """The numbers of a run; without flaws every promise held."""

    events: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    memory_max_bytes: int = 0
    memory_slopes: list[float] = field(default_factory=list)
    """The growth of each replica's memory in bytes a minute, by least squares."""
    flaws: list[str] = field(default_factory=list)


def judge(
    system: ChaosSystem,
    events: Mapping[RecordId, tuple[bytes | None, bytes | None]],
    outcomes: Sequence[dict[str, Any]],
    dead_letters: Sequence[Stored],
    exits: Sequence[int],
) -> Verdict:
    """Return the verdict on a run."""
    found = audit({at: value for at, (_, value) in events.items()}, outcomes, with_urls(system.pim))
    verdict = Verdict(len(events), found.statuses, flaws=list(found.flaws))
    verdict.flaws += _in_order(outcomes)
    verdict.flaws += _dead_letters(system.events, events, outcomes, dead_letters)
    verdict.flaws += _limits(system)
    for host in system.hosts:
        sizes = [size for _, size in host.memory_bytes]
        verdict.memory_max_bytes = max(verdict.memory_max_bytes, *sizes, 0)
        verdict.memory_slopes.append(_slope(host.memory_bytes))
    if verdict.memory_max_bytes > MEMORY_BYTES_MAX:
        verdict.flaws.append(f"P6: a replica had {verdict.memory_max_bytes} bytes resident.")
    if any(exits):
        verdict.flaws.append(
            f"P7: at the end, with nothing pending, the replicas exited with {list(exits)}."
        )
    if left := [str(path) for path in system.media_folder.iterdir()]:
        verdict.flaws.append(f"Files are left on disk: {left}.")
    unexpected = [code for code in system.exits if code not in {0, 1}]
    if unexpected:
        verdict.flaws.append(f"Processes ended by themselves with {unexpected}.")
    return verdict


def _in_order(outcomes: Sequence[dict[str, Any]]) -> list[str]:
    """Check that the outcomes of each asset's valid changes are in the order of the changes."""
    last: dict[tuple[str, str, int], int] = {}
    flaws = []
    for outcome in outcomes:
        data = outcome["data"]
        if data["status"] in {"rejected", "skipped"}:
            continue
        asset = (data["asset_family"], data["code"], data["origin"]["partition"])
        offset = data["origin"]["offset"]
        if offset < last.get(asset, -1):
            flaws.append(f"P2: {outcome['id']} comes after offset {last[asset]}.")
        last[asset] = max(offset, last.get(asset, -1))
    return flaws[:5]


def _dead_letters(
    topic: str,
    events: Mapping[RecordId, tuple[bytes | None, bytes | None]],
    outcomes: Sequence[dict[str, Any]],
    dead_letters: Sequence[Stored],
) -> list[str]:
    """Check that each rejected or failed record is a dead letter once, byte for byte."""
    bad = Counter(
        outcome["id"] for outcome in outcomes if outcome["data"]["status"] in {"rejected", "failed"}
    )
    dead_lettered = Counter(headers["dlq.outcome.id"].decode() for _, _, headers in dead_letters)
    flaws = []
    difference = (bad - dead_lettered) + (dead_lettered - bad)
    if difference:
        flaws.append(f"P3: dead letters differ from bad outcomes: {difference}.")
    for key, value, headers in dead_letters:
        _, partition, offset = headers["dlq.outcome.id"].decode().rsplit("/", 2)
        if events.get((int(partition), int(offset))) != (key, value):
            flaws.append(f"P3: the dead letter of {topic}/{partition}/{offset} is not its record.")
    return flaws[:5]


def _limits(system: ChaosSystem) -> list[str]:
    """Check the calls at once; the PIM itself refuses more than 100 assets a call."""
    seen = system.calls_at_once
    return (
        [f"P8: {seen} calls at once; {CALLS_AT_ONCE} are allowed."] if seen > CALLS_AT_ONCE else []
    )


def _slope(samples: Sequence[tuple[float, int]]) -> float:
    """Return the growth in bytes a minute of the second half, when caches are full."""
    half = samples[len(samples) // 2 :]
    if len(half) < 2:
        return 0.0
    mean_at = sum(at for at, _ in half) / len(half)
    mean_size = sum(size for _, size in half) / len(half)
    spread = sum((at - mean_at) ** 2 for at, _ in half)
    together = sum((at - mean_at) * (size - mean_size) for at, size in half)
    return 60.0 * together / spread if spread else 0.0
