"""Which outcomes leave the outbox, and when (outbox.py, rules 1 and 2)."""

import pytest

from service.contracts.outcome import SourceEvent
from service.core.effects import Commit, Effect
from service.core.group.asset_work import AppliedAlike, Ending
from service.core.inputs import CommitRefusal, Start
from service.core.limits import DecodeLimits, Limits
from service.core.model import (
    Asset,
    Binding,
    Change,
    Moment,
    Origin,
    Partition,
    Rejection,
    SourceRecord,
    UpsertAsset,
)
from service.core.settle.outbox import Outbox
from service.core.verdict_types import PimResponse

EVENTS = Partition("events", 0)
LIMITS = Limits(
    DecodeLimits(1_000),
    pending_changes_max=100,
    commit_interval_seconds=0.1,
    dead_letter_share_changes=4,
)
SKIPPED = Rejection("skipped", "unknown_type", "Not a change.")
REFUSED = Ending("rejected", reason="refused_by_pim", response=PimResponse(422))
APPLIED = Ending("applied", "updated", response=PimResponse(204))


class Writing:
    """An outbox whose transactions are committed at once."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.outbox = Outbox(LIMITS, self.effects)
        self.outbox.begin({EVENTS: Start(0)})
        self.is_draining = False
        self.admitted = 0

    def admit(self, records: int) -> None:
        """Admit records that are still without an outcome."""
        for _ in range(records):
            self.outbox.ledger.admit(EVENTS, self.admitted, 10)
            self.admitted += 1

    def skip(self, records: int) -> None:
        """Admit records that have an outcome at once."""
        for _ in range(records):
            record = SourceRecord(Origin(EVENTS, self.admitted, 1), None, b"?")
            self.admit(1)
            self.outbox.reject(record, SKIPPED, 0)

    def upsert(self, *codes: str) -> list[Change]:
        """Admit an upsert of each of these assets, which are of families of their own."""
        changes = []
        for code in codes:
            record = SourceRecord(Origin(EVENTS, self.admitted, 1), None, b"{}")
            self.admit(1)
            command = UpsertAsset(Asset(f"family_{code}", code), {}, 2)
            changes.append(Change(record, 2, command, SourceEvent(), (), 0.0, 0, attempts=1))
        return changes

    def refuse(self, *codes: str) -> None:
        """Let the PIM refuse an upsert of each of these assets."""
        for change in self.upsert(*codes):
            self.outbox.complete(((change, REFUSED),), 0, is_counted=True)

    def apply(self, *codes: str) -> None:
        """Let the PIM apply an upsert of each of these assets, in one call."""
        changes = self.upsert(*codes)
        self.outbox.complete_alike(AppliedAlike(changes, APPLIED), 0, is_counted=True)

    def outcomes_at(self, now: float) -> int:
        """Return how many outcomes the transaction has that is asked for at this time."""
        before = len(self.effects)
        self.outbox.maybe_commit(now, is_draining=self.is_draining)
        commits = [effect for effect in self.effects[before:] if isinstance(effect, Commit)]
        for commit in commits:
            self.outbox.committed(commit.number, Moment(now, 0))
        return sum(len(commit.transaction.outcomes) for commit in commits)

    def next_time(self) -> float:
        """Return when the next transaction is due at the latest."""
        (time,) = self.outbox.next_times(is_draining=self.is_draining)
        return time


@pytest.fixture
def writing() -> Writing:
    """Return an outbox that wrote its first transaction at 10 s, and has one more outcome."""
    writing = Writing()
    writing.skip(1)
    assert writing.outcomes_at(10.0) == 1
    writing.skip(1)
    return writing


def test_an_outcome_waits_for_the_commit_interval(writing: Writing) -> None:
    """Without a backlog it waits no longer."""
    writing.admit(48)

    assert writing.next_time() == pytest.approx(10.1)
    assert writing.outcomes_at(10.09) == 0
    assert writing.outcomes_at(10.101) == 1


def test_in_a_backlog_a_transaction_waits_for_more_outcomes(writing: Writing) -> None:
    """It waits for at most half a second."""
    writing.admit(49)

    assert writing.next_time() == pytest.approx(10.5)
    assert writing.outcomes_at(10.49) == 0
    assert writing.outcomes_at(10.501) == 1


def test_many_outcomes_do_not_wait_for_more(writing: Writing) -> None:
    """A fifth of the limit on pending changes is enough for a transaction."""
    writing.admit(49)
    writing.skip(18)
    assert writing.outcomes_at(10.101) == 0
    writing.skip(1)
    assert writing.outcomes_at(10.102) == 20


def test_outcomes_of_a_drain_do_not_wait_for_more(writing: Writing) -> None:
    """Another replica waits for the partitions."""
    writing.admit(49)
    writing.is_draining = True

    assert writing.next_time() == pytest.approx(10.1)
    assert writing.outcomes_at(10.101) == 1


def test_an_outcome_does_not_overtake_one_of_its_asset_that_is_withheld() -> None:
    """Not even that of an upsert which was applied in one call with others."""
    writing = Writing()
    writing.refuse("a", "b", "c")
    assert writing.outbox.limit.is_reached
    writing.apply("c", "other")

    assert writing.outcomes_at(10.0) == 3, "of a and b, which came before the limit, and of other"
    assert writing.outbox.withheld_changes == 2
    writing.outbox.release({})
    assert writing.outcomes_at(20.0) == 2


def test_what_was_read_before_a_release_is_not_counted() -> None:
    """Neither are upserts that were applied in one call."""
    writing = Writing()
    writing.refuse("a", "b", "c")
    earlier = writing.upsert("d", "e")
    writing.outbox.release({})
    writing.outbox.complete_alike(AppliedAlike(earlier, APPLIED), 0, is_counted=True)
    assert writing.outbox.limit.changes == 0

    writing.apply("f", "g")
    assert writing.outbox.limit.changes == 2


def test_a_release_is_forgotten_when_everything_that_it_covers_is_committed() -> None:
    """It covers what the partition had by then, here two more records."""
    writing = Writing()
    writing.refuse("a", "b", "c")
    writing.outbox.release({EVENTS: 5})
    writing.skip(1)
    assert writing.outcomes_at(10.0) == 4
    assert writing.outbox._released.has(EVENTS, 4)
    assert not writing.outbox._released.has(EVENTS, 5)
    writing.skip(1)
    assert writing.outcomes_at(20.0) == 1
    assert not writing.outbox._released


def test_a_release_is_forgotten_when_the_topic_is_created_again() -> None:
    """Its first records are counted, although their offsets are lower."""
    writing = Writing()
    writing.refuse("a", "b", "c")
    writing.outbox.release({EVENTS: 5})
    writing.outbox.begin({EVENTS: Start(0, binding=Binding(topic_id="new"))})
    writing.admitted = 0

    writing.apply("d", "e")

    assert writing.outbox.limit.changes == 2


def test_what_kafka_does_not_take_in_time_is_written_in_parts() -> None:
    """Whole it would take too long again: a quota of Kafka delays each of its requests."""
    writing = Writing()
    writing.skip(400)
    writing.outbox.maybe_commit(1.0, is_draining=True)
    writing.outbox.refused(CommitRefusal.NOT_IN_TIME)

    parts = [writing.outcomes_at(float(now)) for now in range(2, 10)]

    assert 0 < parts[0] <= 200
    assert sum(parts) == 400
