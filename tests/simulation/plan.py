"""What a seed means: the size of the world, its events and its faults."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from service.core.limits import DELAY_SECONDS_MAX, STRUCTURE_RETRY_SECONDS
from service.core.long_form import COMPILED_AFTER_EVENTS
from tests.simulation.media import ATTRIBUTES, CHANGES, FILES, MediaPlan, PlannedFile, media_of

SESSION_SECONDS = 6.0
DRAIN_SECONDS = 8.0
NOT_IN_TIME_SECONDS = 1.0
"""How long the service waits for a broker that does not take a transaction."""
TRANSACTION_BYTES_MIN = 700
"""Of the replicas: some transaction of a world may become as small as one outcome."""
POLL_RECORDS_MAX = 20
"""Records of one partition that a poll brings."""
MENDED_SECONDS = 3_000.0
"""After the last fault, when the PIM's administrator has mended what was its own."""

FAMILIES = ("packshots", "manuals", "videos", "banners")
UNKNOWN_FAMILY = "typo"

LATER = 0x400000
"""Traits that came later have chances of their own: old seeds keep their meaning."""

LIMITS = 0x800000
"""Likewise the limits."""

CREATIONS = 0x2000000
"""Likewise the families that are created while a world runs."""

QUOTAS = 0x10000000
"""Likewise what the broker takes in time."""

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
    """What the asset has afterwards; of a file, its content."""
    flaws: frozenset[str] = frozenset()
    """What is wrong with the files that it names."""
    files: Mapping[str, PlannedFile] = field(default_factory=dict)
    """The file that it names for each attribute."""


@dataclass(frozen=True)
class WorldLimits:
    """The limits of a world's replicas and neighbours; the defaults are those of production."""

    changes_per_asset_max: int = 1_000
    span_pause_offsets: int = 20_000
    map_offsets_max: int = 24_000
    transaction_outcomes_max: int = 5_000
    transaction_bytes_max: int = 8 * 1024 * 1024
    calls_per_second_max: int = 50
    pending_bytes_max: int = 128 * 1024 * 1024
    window_bytes_max: int = 4 * 1024 * 1024
    breaker_pending_changes: int = 1_000
    retry_attempts_max: int = 8
    retry_seconds_max: float = 300.0
    metadata_characters_max: int = 4_096
    """Of the broker: longer commit metadata is refused."""
    commit_bytes_max: int | None = None
    """Of the broker: it does not take a larger transaction in time, unless it is of one asset."""
    pim_calls_per_second_max: int | None = None
    """Of the PIM: what comes beyond is answered by 429."""
    hole_offsets: int = 0
    """Offsets that an aborted transaction of a DAM leaves, now and then."""
    refused_share: float = 0.0
    """Chance of a commit that meets a rebalance and is refused."""
    fences: tuple[tuple[float, int], ...] = ()
    """When the coordinator forgets a replica that is awake."""
    options: int = 0
    """Attributes with options in each family: requests that its structure needs beyond one."""
    misspelt_share: float = 0.0
    """Chance of a record for one of a hundred families that the PIM does not have."""
    odd_case_share: float = 0.0
    """Chance of a record that spells its asset's code in capitals; the PIM folds case."""
    deletes_per_hour_max: int = 1_000
    """Of a family, by each replica; beyond, a person is waited for. 0: no limit."""
    media: MediaPlan | None = None
    """The files that events name; None: they name none."""
    creates_families: bool = False
    """Whether some families are created late, each before the first record of it is written."""


ROOMY = WorldLimits()


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
    created_at: Mapping[str, float]
    """When families are created that are not there at the beginning."""
    limits: WorldLimits

    @property
    def judged_from_event(self) -> int:
        """After how many events of a family its values are judged as JSON (`long_form.py`)."""
        return 0 if self.seed % 8 == 7 else COMPILED_AFTER_EVENTS

    @property
    def fails_by_itself(self) -> bool:
        """Whether the PIM fails on some requests until its administrator mends it."""
        media = self.limits.media
        is_poisoned = media is not None and media.is_poisoned
        return bool(self.poison or self.sick_family or self.no_delete_right or is_poisoned)

    @property
    def last_fault_at(self) -> float:
        """When the last fault ends."""
        if self.fails_by_itself:
            return self.ends_at + MENDED_SECONDS
        media = self.limits.media
        hosts = [end for _, end, _ in media.outages] if media is not None else []
        disks = [end for _, end in media.disk.full] if media is not None else []
        return max([self.ends_at, *(end for _, end in self.outages), *hosts, *disks])

    @property
    def completes_within(self) -> float:
        """Seconds after the last fault in which every change must have its outcome.

        The group needs its session, a drain and a rebalance for each replica that came or went;
        the longest delays are those of a retry, a probe and a structure that could not be read;
        then every request takes its turn in the rate and in one slot. A person who is waited for
        comes within 20 s, and looks at 20 changes at a time, or at the deletes of an hour.
        """
        comings = self.owners + len(self.kills) + len(self.joins) + len(self.leaves) + 1
        comings += len(self.freezes) + len(self.limits.fences)
        group = comings * (SESSION_SECONDS + DRAIN_SECONDS + 4)
        delays = 4 * DELAY_SECONDS_MAX + 2 * STRUCTURE_RETRY_SECONDS + self.window_seconds
        requests = len(self.records) * 4 + (len(FAMILIES) + 1) * (self.limits.options + 2) * 3
        rate = min(
            self.limits.calls_per_second_max // self.partitions or 1,
            self.limits.pim_calls_per_second_max or 50,
        )
        looks = len(self.records) / 10 * 20 if self.dead_letter_share < 1 else 0
        if self.limits.deletes_per_hour_max:
            looks += len(self.records) / self.limits.deletes_per_hour_max * 20
        if self.limits.commit_bytes_max is not None:
            looks += len(self.records) * NOT_IN_TIME_SECONDS
        files = 0.0
        if self.limits.media is not None:
            requests += len(self.records) * 4
            files = 2 * DELAY_SECONDS_MAX + len(self.records) * 4 * self.limits.media.seconds
        return group + delays + looks + files + requests * (1 / rate + 2 * self.call_seconds)


def plan(seed: int, trouble: Trouble | None = None, limits: WorldLimits | None = None) -> Plan:
    """The world of a seed; `limits` in the place of the seed's own."""
    chance = random.Random(seed)
    later = random.Random(seed ^ LATER)
    troubles: list[Trouble] = ["calm", "outages", "everything", "everything"]
    kind: Trouble = chance.choice(troubles) if trouble is None else trouble
    rough = kind == "everything"
    ends_at = chance.uniform(5, 60)
    partitions = chance.randint(1, 4)
    owners = chance.randint(1, 3)
    drawn = replace(
        _limits(random.Random(seed ^ LIMITS), kind, ends_at),
        media=media_of(seed, ends_at, rough=rough, calm=kind == "calm"),
        creates_families=random.Random(seed ^ CREATIONS).random() < 0.5,
    )
    drawn = replace(drawn, commit_bytes_max=_commit_bytes_max(random.Random(seed ^ QUOTAS), drawn))
    limits = limits or drawn
    records = _records(chance, partitions, ends_at, rough=rough)
    if limits.media is not None:
        records = _with_files(records, random.Random(seed ^ FILES ^ LATER), limits.media)
        records = _with_hot_file(records, random.Random(seed ^ CHANGES ^ LATER), limits.media)
    records = _respelt(records, random.Random(seed ^ LIMITS ^ LATER), partitions, limits)
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
        # Repair may take a quarter of the pending limit: an outage alone must not use it up.
        reads_structure=later.random() < 0.4,
        token_share=later.choice((0.0, 0.1)),
        pending_max=chance.choice((8 if kind != "outages" else 100, 100, 10_000)),
        dead_letter_share=later.choice((1.0, 1.0, 0.1)),
        created_at=_creations(seed, records) if limits.creates_families else {},
        limits=limits,
    )


def _commit_bytes_max(chance: random.Random, limits: WorldLimits) -> int | None:
    """What the broker takes in time: anything, where a short map may need a large transaction."""
    is_map_long = limits.map_offsets_max >= 24_000 and limits.metadata_characters_max >= 4_096
    return chance.choice((None, 1_000, 2_000)) if is_map_long else None


def _creations(seed: int, records: tuple[PlannedRecord, ...]) -> dict[str, float]:
    """When each of some families is created: before the first record of it."""
    chance = random.Random(seed ^ CREATIONS ^ LATER)
    first = {record.asset[0]: record.time for record in reversed(records)}
    return {
        family: chance.uniform(0, first[family])
        for family in FAMILIES
        if family in first and chance.random() < 0.5
    }


def _limits(chance: random.Random, kind: Trouble, ends_at: float) -> WorldLimits:
    """Each limit small in some worlds, as in production in the others."""
    rough = kind == "everything"
    fences = range(chance.choice((0, 0, 3)) if rough else 0)
    return WorldLimits(
        changes_per_asset_max=chance.choice((2, 3, 1_000)),
        span_pause_offsets=chance.choice((15, 30, 20_000, 20_000)),
        map_offsets_max=chance.choice((20, 40, 24_000, 24_000)),
        transaction_outcomes_max=chance.choice((2, 5, 5_000)),
        transaction_bytes_max=chance.choice((3_000, 8 * 1024 * 1024)),
        calls_per_second_max=chance.choice((3, 10, 50)),
        # As with pending changes: the share for repair must hold what an outage leaves behind.
        pending_bytes_max=chance.choice((2_000 if rough else 20_000, 128 * 1024 * 1024)),
        window_bytes_max=chance.choice((150, 4 * 1024 * 1024)),
        breaker_pending_changes=chance.choice((5, 1_000)),
        # Each end of an outage may leave one failure behind: two outages must not use it up.
        retry_attempts_max=chance.choice((2 if rough else 8, 8)),
        retry_seconds_max=chance.choice((20.0, 300.0)),
        metadata_characters_max=chance.choice((8, 4_096)),
        pim_calls_per_second_max=chance.choice((1, 4)) if chance.random() < 0.2 else None,
        hole_offsets=chance.choice((0, 0, 50)),
        refused_share=chance.choice((0.0, 0.1)) if kind != "calm" else 0.0,
        fences=tuple((chance.uniform(0, ends_at), chance.randrange(8)) for _ in fences),
        options=chance.choice((0, 6)),
        misspelt_share=chance.choice((0.0, 0.0, 0.3)),
        odd_case_share=chance.choice((0.0, 0.3)),
        deletes_per_hour_max=chance.choice((1_000, 0, 1, 3)),
    )


def _with_files(
    records: tuple[PlannedRecord, ...], chance: random.Random, media: MediaPlan
) -> tuple[PlannedRecord, ...]:
    """The same records, some of which name files."""
    return tuple(
        _with_file(record, chance, media) if record.kind == "upsert" else record
        for record in records
    )


def _with_file(record: PlannedRecord, chance: random.Random, media: MediaPlan) -> PlannedRecord:
    return _naming(
        record,
        {
            attribute: chance.choice(media.files)
            for attribute in ATTRIBUTES
            if chance.random() < media.share
        },
    )


def _with_hot_file(
    records: tuple[PlannedRecord, ...], chance: random.Random, media: MediaPlan
) -> tuple[PlannedRecord, ...]:
    """The same records, of which some name the one file that many assets want."""
    hot, share = media.changes.hot, media.changes.hot_share
    if hot is None or not share:
        return records
    return tuple(
        _naming(record, {**record.files, ATTRIBUTES[0]: hot})
        if record.kind == "upsert" and chance.random() < share
        else record
        for record in records
    )


def _naming(record: PlannedRecord, files: Mapping[str, PlannedFile]) -> PlannedRecord:
    """The same upsert with these files."""
    assert record.value is not None
    event = json.loads(record.value)
    event["values"].update({attribute: file.value for attribute, file in files.items()})
    return replace(
        record,
        value=json.dumps(event).encode(),
        values=record.values | {attribute: file.content for attribute, file in files.items()},
        flaws=frozenset(file.flaw for file in files.values() if file.flaw is not None),
        files=files,
    )


def _respelt(
    records: tuple[PlannedRecord, ...], chance: random.Random, partitions: int, limits: WorldLimits
) -> tuple[PlannedRecord, ...]:
    """Some of the records for families that are not there, some with their code in capitals."""
    return tuple(_respell(record, chance, partitions, limits) for record in records)


def _respell(
    record: PlannedRecord, chance: random.Random, partitions: int, limits: WorldLimits
) -> PlannedRecord:
    family, code = record.asset
    if chance.random() < limits.misspelt_share:
        family = f"{UNKNOWN_FAMILY}{chance.randrange(100)}"
    if chance.random() < limits.odd_case_share:
        code = code.upper()
    if (family, code) == record.asset or record.kind == "broken":
        return record
    key = f"{family}/{code}".encode()
    value = record.value
    if value is not None:
        value = json.dumps(json.loads(value) | {"asset_family": family, "code": code}).encode()
    # Spellings that a PIM takes for one asset have an order only within one partition.
    partition = sum(key.lower()) % partitions
    return replace(record, key=key, value=value, asset=(family, code), partition=partition)


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
