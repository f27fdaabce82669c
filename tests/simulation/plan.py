"""What a seed means: the size of the world, its events and its faults."""

import json
import random
from dataclasses import dataclass, field
from typing import Literal

FAMILIES = ("packshots", "manuals", "videos", "banners")
UNKNOWN_FAMILY = "typo"

LATER = 0x400000
"""Traits that came later have chances of their own: old seeds keep their meaning."""

Trouble = Literal["calm", "outages", "everything"]


@dataclass(frozen=True)
class PlannedRecord:
    """A record that a DAM will write; `kind` says what the auditor expects of it."""

    time: float
    partition: int
    key: bytes
    value: bytes | None
    kind: Literal["upsert", "delete", "broken", "foreign"]
    asset: tuple[str, str]
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """One world. Shares are probabilities of a call, times are seconds."""

    seed: int
    trouble: Trouble
    partitions: int
    owners: int
    records: tuple[PlannedRecord, ...]
    ends_at: float
    """Faults happen before; afterwards everything heals."""
    window_seconds: float
    call_seconds: float
    slow_share: float
    """Chance of a call that takes almost as long as its timeout."""
    error_share: float
    timeout_share: float
    half_share: float
    throttle_share: float
    crash_share: float
    """Chance of a crash at each effect."""
    outages: tuple[tuple[float, float], ...]
    poison: frozenset[tuple[str, str]]
    """Assets whose presence makes the PIM answer 500."""
    sick_family: str | None
    no_delete_right: bool
    lands_late: bool
    """A request that was given up may still be applied: P2 is waived for its assets."""
    freezes: tuple[tuple[float, float, int], ...]
    kills: tuple[tuple[float, int], ...]
    joins: tuple[float, ...]
    leaves: tuple[tuple[float, int], ...]
    gap_share: float
    pending_max: int
    token_share: float
    """Chance of a request that needs a token first: one more place in the rate."""
    reads_structure: bool
    """Whether replicas shape and validate by the families' structures."""
    dead_letter_share: float
    """Of the last 20 changes; beyond, a replica waits for a person, who comes some time later."""


def plan(seed: int, trouble: Trouble | None = None) -> Plan:
    """The world of a seed."""
    chance = random.Random(seed)
    later = random.Random(seed ^ LATER)
    troubles: list[Trouble] = ["calm", "outages", "everything", "everything"]
    kind: Trouble = chance.choice(troubles) if trouble is None else trouble
    rough = kind == "everything"
    ends_at = chance.uniform(5, 60)
    partitions = chance.randint(1, 4)
    owners = chance.randint(1, 3)
    records = _records(chance, partitions, ends_at, rough=rough)
    assets = sorted({record.asset for record in records})

    def few(most: int) -> range:
        return range(chance.randint(0, most) if kind != "calm" else 0)

    def moment() -> float:
        return chance.uniform(0, ends_at)

    return Plan(
        seed=seed,
        trouble=kind,
        partitions=partitions,
        owners=owners,
        records=records,
        ends_at=ends_at,
        window_seconds=chance.choice((0.0, 0.2, 2.0)),
        call_seconds=chance.choice((0.01, 0.2, 1.5)),
        slow_share=later.choice((0.0, 0.0, 0.2)) if rough else 0.0,
        error_share=chance.choice((0.0, 0.1)) if rough else 0.0,
        timeout_share=chance.choice((0.0, 0.05)) if rough else 0.0,
        half_share=chance.choice((0.0, 0.1)) if rough else 0.0,
        throttle_share=chance.choice((0.0, 0.2)) if kind != "calm" else 0.0,
        crash_share=chance.choice((0.0, 0.0, 0.002)) if rough else 0.0,
        outages=tuple((start := moment(), start + chance.uniform(1, 90)) for _ in few(2)),
        poison=frozenset(chance.sample(assets, min(2, len(assets))))
        if rough and chance.random() < 0.3
        else frozenset(),
        sick_family=chance.choice(FAMILIES) if rough and chance.random() < 0.2 else None,
        no_delete_right=rough and chance.random() < 0.1,
        lands_late=rough and chance.random() < 0.1,
        freezes=tuple((moment(), chance.uniform(0.5, 20), chance.randrange(8)) for _ in few(2)),
        kills=tuple((moment(), chance.randrange(8)) for _ in few(3)),
        joins=tuple(moment() for _ in few(3)),
        leaves=tuple((moment(), chance.randrange(8)) for _ in few(2)),
        gap_share=chance.choice((0.0, 0.2)),
        # A quarter of the pending limit is patience's share: an outage alone must not use it up.
        reads_structure=later.random() < 0.4,
        token_share=later.choice((0.0, 0.1)),
        pending_max=chance.choice((8 if kind != "outages" else 100, 100, 10_000)),
        dead_letter_share=later.choice((1.0, 1.0, 0.1)),
    )


def _records(
    chance: random.Random, partitions: int, ends_at: float, *, rough: bool
) -> tuple[PlannedRecord, ...]:
    count = chance.choice((10, 60, 150))
    families = FAMILIES[: chance.randint(1, len(FAMILIES))]
    asset_count = chance.choice((2, 8, 40))
    delete_share = chance.choice((0.1, 0.4))
    times = sorted(chance.uniform(0, ends_at) for _ in range(count))
    return tuple(
        _record(chance, number, time, partitions, families, asset_count, delete_share, rough)
        for number, time in enumerate(times)
    )


def _record(  # noqa: PLR0913, PLR0917 - the traits of a world, used in one place
    chance: random.Random,
    number: int,
    time: float,
    partitions: int,
    families: tuple[str, ...],
    asset_count: int,
    delete_share: float,
    rough: bool,  # noqa: FBT001
) -> PlannedRecord:
    family = chance.choice(families)
    if rough and chance.random() < 0.02:
        family = UNKNOWN_FAMILY
    code = f"a{chance.randrange(asset_count)}"
    asset = (family, code)
    key = f"{family}/{code}".encode()
    # An asset's order is the order of one partition: the key decides.
    partition = sum(key) % partitions
    dice = chance.random()
    if dice < 0.04:
        return PlannedRecord(time, partition, key, b"{broken", "broken", asset)
    if dice < 0.06:
        odd = {"action": "rename", "asset_family": family, "code": code}
        return PlannedRecord(time, partition, key, json.dumps(odd).encode(), "broken", asset)
    if dice < 0.06 + delete_share:
        return PlannedRecord(time, partition, key, None, "delete", asset)
    values = {f"v{chance.randrange(3)}": f"{number}" for _ in range(chance.randint(0, 3))}
    if chance.random() < 0.1:
        values["bad"] = "refused"
    event: dict[str, object] = {"action": "upsert", "asset_family": family, "code": code}
    event["values"] = values
    return PlannedRecord(time, partition, key, json.dumps(event).encode(), "upsert", asset, values)
