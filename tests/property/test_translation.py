"""Whatever happens to a replica of `translate`, each item of a raw record is written once.

The order of each partition holds too.

A world is a log of raw records, a DAM, and replicas that own all partitions in turn. Transactions
are committed, refused or fenced, replicas crash and drain, reads are answered late, the host fails.
"""

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.inputs import Arrived, ChangesRefused, CommitRefusal, DrainKind, Forgotten
from service.core.model import Origin, Partition, SourceRecord
from service.mapping.results import NotFound
from service.translation.limits import TranslationLimits
from service.translation.read_answers import Found, HostTrouble
from service.translation.turn import COST_MAX
from tests.support.translation import TranslatorUnderTest, WordMapping, decoded

PARTITIONS = 3
STEPS_MAX = 2_000
WORDS = ("upsert", "delete", "families", "skip", "reject", "read")
LIMITS = TranslationLimits(
    1024 * 1024, pending_items_max=12, commit_interval_seconds=0.05, dead_letter_share_max=1.0
)
CROWDED_BYTES = 1_500
"""So few that a handful of changes is too many: the newest records are put back."""


@dataclass
class World:
    """The raw records, what was committed for them, and the replica that owns them now."""

    chance: random.Random
    records: list[list[bytes]]
    """The values of each partition, by offset."""
    positions: dict[int, int] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    """The ids of the changes that were committed, in order."""
    outcomes: list[str] = field(default_factory=list)
    """The ids of the outcomes that were committed, in order."""
    dead: Counter[str] = field(default_factory=Counter)
    """How many items died in each record, by the dead letters that were committed."""
    seconds: float = 0.0
    _collected: int = 0

    def __post_init__(self) -> None:
        bytes_max = self.chance.choice((LIMITS.pending_bytes_max, CROWDED_BYTES))
        self.limits = replace(LIMITS, pending_bytes_max=bytes_max)
        self.steps = self.chance.choice((0, COST_MAX // 2, COST_MAX))
        self.replica = self._start()

    def _start(self) -> TranslatorUnderTest:
        """Start a replica where the committed positions are."""
        replica = TranslatorUnderTest(
            PARTITIONS,
            self.limits,
            WordMapping(steps=self.steps),
            is_committing=False,
            seconds=self.seconds,
        )
        replica.assign(self.positions)
        self.read = {number: self.positions.get(number, 0) for number in range(PARTITIONS)}
        self._collected = 0
        return replica

    @property
    def is_done(self) -> bool:
        return all(self.positions.get(n, 0) == len(self.records[n]) for n in range(PARTITIONS))

    def live(self) -> None:
        """Let things happen until everything is written."""
        for _ in range(STEPS_MAX):
            if self.is_done:
                return
            self._happen()
        raise AssertionError((self.positions, self.replica.translator.status(self.seconds)))

    def _happen(self) -> None:
        replica, chance = self.replica, self.chance
        self.seconds += chance.choice((0.0, 0.01, 0.1))
        replica.seconds = self.seconds
        what = chance.random()
        if what < 0.35:
            self._poll()
        elif what < 0.6 and replica.open:
            self._end_transaction()
        elif what < 0.85 and replica.started:
            self._answer()
        elif what < 0.97:
            replica.pass_time(0.0)
        else:
            self._change_owner()

    def _poll(self) -> None:
        """Deliver the next records of some partitions; some come twice, as after a pause."""
        records = []
        for number in range(PARTITIONS):
            if self.replica.pauses[-1] or self.chance.random() < 0.5:
                continue
            begin = max(0, self.read[number] - self.chance.choice((0, 0, 0, 1)))
            end = min(len(self.records[number]), begin + self.chance.randrange(4))
            self.read[number] = max(self.read[number], end)
            records += [self._record(number, offset) for offset in range(begin, end)]
        self.replica.step(Arrived(tuple(records)))

    def _record(self, partition: int, offset: int) -> SourceRecord:
        origin = Origin(Partition("raw", partition), offset, self.replica.epoch)
        return SourceRecord(origin, b"k", self.records[partition][offset], (), 0)

    def _end_transaction(self) -> None:
        what = self.chance.random()
        if what < 0.8:
            self.replica.commit()
            self._collect()
        elif what < 0.95:
            self.replica.refuse(CommitRefusal.REBALANCE_IN_PROGRESS)
        else:
            self.replica.refuse(CommitRefusal.FENCED)
            assert self.replica.dropped == 1
            self.replica = self._start()

    def _answer(self) -> None:
        """Answer one of the reads under way, as a DAM does that is sometimes away."""
        url = self.chance.choice(self.replica.started).url
        what = self.chance.random()
        if what < 0.2:
            self.replica.answer(url, HostTrouble("does not answer"))
        else:
            self.replica.answer(url, NotFound() if "gone" in url else Found(b"{}"))

    def _change_owner(self) -> None:
        """Kill the replica, or take its partitions away, or stop it; another one goes on."""
        end = self.chance.choice(("kill", DrainKind.REVOCATION, DrainKind.SHUTDOWN))
        if isinstance(end, DrainKind):
            self.replica.drain(end)
            while not self.replica.drained:
                if self.replica.open:
                    self.replica.commit()
                else:
                    next_time = self.replica.translator.next_time()
                    assert next_time is not None, "a drain ends by itself"
                    self.replica.pass_time(next_time - self.replica.seconds)
            self._collect()
            self.seconds = self.replica.seconds
            self.replica.step(Forgotten())
        self.replica = self._start()

    def _collect(self) -> None:
        """Take note of what was committed."""
        for transaction in self.replica.transactions[self._collected :]:
            self.changes += [decoded(record)["id"] for record in transaction.changes]
            self.outcomes += [decoded(record)["id"] for record in transaction.outcomes]
            for letter in transaction.dead_letters:
                headers = {name: content or b"" for name, content in letter.headers}
                at = b"/".join(headers[f"dlq.original.{part}"] for part in ("partition", "offset"))
                self.dead[at.decode()] += headers["dlq.parts"].count(b",") + 1
            for partition, commit in transaction.positions.items():
                assert commit.position > self.positions.get(partition.number, 0)
                self.positions[partition.number] = commit.position
        self._collected = len(self.replica.transactions)


def values(chance: random.Random) -> list[bytes]:
    """Return the values of the records of one partition."""

    def word() -> str:
        action = chance.choice(WORDS)
        code = f"gone{chance.randrange(3)}" if chance.random() < 0.2 else f"a{chance.randrange(3)}"
        return f'"{action} {code}"'

    return [
        f"[{', '.join(word() for _ in range(chance.randrange(1, 4)))}]".encode()
        for _ in range(chance.randrange(10))
    ]


def expected(records: list[list[bytes]]) -> Counter[str]:
    """Return the ids that have to be written for these records, once each."""
    ids: Counter[str] = Counter()
    for partition, of_partition in enumerate(records):
        for offset, value in enumerate(of_partition):
            for part, word in enumerate(value.decode().strip("[]").split(", ")):
                ids[f"raw/{partition}/{offset}#{part}"] += 1
                if word.startswith('"families'):
                    ids[f"raw/{partition}/{offset}#{part}.1"] += 1
    return ids


def _in_order(part: str) -> tuple[float, ...]:
    """Return offset and number of an item, such as `3#2.1`."""
    offset, _, number = part.partition("#")
    return float(offset), float(number)


@given(st.integers(0, 2**32))
def test_each_part_is_written_once_and_in_order(seed: int) -> None:
    """By all replicas together, whatever happens to them."""
    chance = random.Random(seed)
    world = World(chance, [values(chance) for _ in range(PARTITIONS)])
    world.live()

    assert Counter(world.changes + world.outcomes) == expected(world.records)
    for partition in range(PARTITIONS):
        for written in (world.changes, world.outcomes):
            prefix = f"raw/{partition}/"
            parts = [one.removeprefix(prefix) for one in written if one.startswith(prefix)]
            assert parts == sorted(parts, key=_in_order)
    died = Counter(
        f"{partition}/{offset}"
        for partition, of_partition in enumerate(world.records)
        for offset, value in enumerate(of_partition)
        for word in value.decode().split(", ")
        if "reject" in word
    )
    assert world.dead == died


@pytest.mark.parametrize("refused", [frozenset({0}), frozenset({1, 2}), frozenset({0, 1, 2})])
def test_changes_that_a_topic_refuses_end_once(refused: frozenset[int]) -> None:
    """Each becomes an outcome, and the others are written."""
    tested = TranslatorUnderTest(is_committing=False)
    tested.arrive("upsert a", "upsert b", "upsert c")
    tested.refuse(ChangesRefused(refused))
    tested.commit()

    changed = [change["id"] for change in tested.changes]
    ended = [outcome["id"] for outcome in tested.outcomes]
    assert sorted(changed + ended) == ["raw/0/0#0", "raw/0/0#1", "raw/0/0#2"]
    assert len(ended) == len(refused)
