"""Where a partition begins, for every relation of a committed position to its log."""

import asyncio
import re
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka import beginning, ends, start_positions, transaction
from service.adapters.kafka.aiokafka_gaps.group_membership import GroupMetadata
from service.adapters.kafka.aiokafka_gaps.identity import Identity
from service.adapters.kafka.beginning import _beginning
from service.adapters.kafka.positions import Committed, Log, decide_start, is_above_end
from service.adapters.kafka.start_positions import (
    REREAD_SECONDS,
    StartPositions,
    Starts,
    until_readable,
)
from service.adapters.kafka.transaction import TransactionLog
from service.core.facts import (
    Fact,
    GroupBegun,
    GroupBegunAgain,
    OffsetMapUnused,
    PartitionsUnreadable,
    PositionLost,
)
from service.core.inputs import Start
from service.core.model import Binding
from service.core.settle import offset_map
from service.ports import FatalError
from service.settings import KafkaSettings
from tests.support.leaders import AWAY, Leaders
from tests.support.scripted_producer import Script, ScriptedProducer

PLACE = TopicPartition("events", 0)
ADDED = TopicPartition("events", 1)
BINDING = Binding("cluster:group:events:0", "first-topic")
LATER = Binding("cluster:group:events:0", "second-topic")
LOG = Log(first=100, last=200)


def committed(position: int, *above: int, binding: Binding = BINDING) -> Committed:
    """A position with the offsets above it that were committed."""
    bitmap = offset_map.bitmap(position, above)
    return Committed(position, offset_map.encode(position, bitmap, binding))


def moved(position: int) -> Committed:
    """A position that somebody moved, with the metadata of another one."""
    return Committed(position, committed(150, 160).metadata)


@pytest.mark.parametrize("position", [100, 150, 200])
def test_a_position_within_the_log_is_used_with_its_map(position: int) -> None:
    """The log's first offset and its end are within it."""
    above = {position + 3, position + 7} if position < 200 else set()
    decided = decide_start(PLACE, committed(position, *above), LOG, BINDING)

    assert decided.start == Start(position, frozenset(above), BINDING)
    assert decided.fact is None


@pytest.mark.parametrize(("position", "kept"), [(99, {103}), (40, {100, 103})])
def test_what_retention_deleted_is_reported(position: int, kept: set[int]) -> None:
    """Reading resumes at the first record, and what was committed above it stays committed."""
    decided = decide_start(PLACE, committed(position, *kept, position + 1), LOG, BINDING)

    still_there = frozenset(kept | {position + 1}) - frozenset(range(100))
    assert decided.start == Start(100, still_there, BINDING)
    assert isinstance(decided.fact, PositionLost)
    assert f"offsets {position} to 99 were deleted" in decided.fact.message


def test_a_position_above_the_end_means_that_the_topic_was_created_again() -> None:
    """It begins at the earliest record."""
    decided = decide_start(PLACE, committed(201), LOG, BINDING)

    assert decided.start == Start(100, binding=BINDING)
    assert isinstance(decided.fact, PositionLost)
    assert "201 is above the end of the partition, 200: the topic was re-created" in (
        decided.fact.message
    )


def test_the_id_of_the_topic_shows_that_it_was_created_again() -> None:
    """Also where the new topic has an offset of that number already."""
    decided = decide_start(PLACE, committed(150), LOG, LATER)

    assert decided.start == Start(100, binding=LATER)
    assert isinstance(decided.fact, PositionLost)
    assert "was committed for an earlier topic of this name" in decided.fact.message


@pytest.mark.parametrize("last", [199, 200])
def test_a_map_that_names_a_record_that_is_not_there_is_not_used(last: int) -> None:
    """The offset before the end is the last record."""
    decided = decide_start(PLACE, committed(150, last), LOG, BINDING)

    is_there = last == 199
    assert decided.start.committed_above == (frozenset({199}) if is_there else frozenset())
    assert isinstance(decided.fact, OffsetMapUnused) is not is_there


@pytest.mark.parametrize(("position", "start"), [(140, 140), (200, 200), (90, 100)])
def test_the_map_of_another_position_is_not_used(position: int, start: int) -> None:
    """Records above the position may get a second outcome; none is lost."""
    decided = decide_start(PLACE, moved(position), LOG, BINDING)

    assert decided.start == Start(start, binding=BINDING)
    assert isinstance(decided.fact, OffsetMapUnused)
    assert f"every record from {start} on is read" in decided.fact.message


def test_a_moved_position_above_the_end_begins_at_the_earliest_record() -> None:
    decided = decide_start(PLACE, moved(201), LOG, BINDING)

    assert decided.start == Start(100, binding=BINDING)
    assert isinstance(decided.fact, PositionLost)


def test_metadata_of_somebody_else_ends_the_process() -> None:
    """The message says whose group it may be, and how to go on."""
    with pytest.raises(FatalError, match=re.escape("ASSET_SYNC_KAFKA__GROUP_ID")):
        decide_start(PLACE, Committed(150, "flink"), LOG, BINDING)


@pytest.mark.parametrize(
    ("found", "is_above"),
    [
        (committed(200), False),
        (committed(201), True),
        (committed(150, 199), False),
        (committed(150, 200), True),
        (Committed(201, "flink"), True),
        (Committed(150, "flink"), False),
        (committed(201, binding=LATER), False),
    ],
    ids=str,
)
def test_only_what_a_starting_broker_may_explain_is_looked_at_again(
    found: Committed, *, is_above: bool
) -> None:
    """A broker may not have loaded its last records; another topic id explains itself."""
    assert is_above_end(found, LOG, BINDING) is is_above


@pytest.mark.parametrize(("start_from", "position"), [("earliest", 100), ("latest", 200)])
def test_a_new_group_begins_where_the_setting_says(start_from: str, position: int) -> None:
    """The metadata is an empty map that is bound to the position."""
    kafka = KafkaSettings.model_validate({"start_from": start_from})
    identity = Identity("cluster", {"events": "topic-id"}, {})

    begun = _beginning(kafka, identity, PLACE, LOG)

    binding = identity.binding(kafka.group_id, PLACE)
    assert begun.offset == position
    assert offset_map.decode(position, begun.metadata, binding) == frozenset()


def test_a_position_above_the_end_is_believed_after_a_second_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that is starting may not have loaded its last records yet."""
    kafka = KafkaSettings.model_validate({})
    identity = Identity("cluster", {"events": "topic-id"}, {})
    binding = identity.binding(kafka.group_id, PLACE)
    found = OffsetAndMetadata(201, offset_map.encode(201, 0, binding))
    facts: list[Fact] = []
    positions = StartPositions(kafka, TransactionLog(kafka), facts.append)
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    first = positions._resume(identity, {PLACE: found}, {PLACE: LOG})
    assert (first.starts, first.reread_seconds, facts) == ({}, REREAD_SECONDS, [])

    now += REREAD_SECONDS
    second = positions._resume(identity, {PLACE: found}, {PLACE: LOG})
    assert second == ({PLACE: Start(100, binding=binding)}, None, frozenset())
    assert [type(fact) for fact in facts] == [PositionLost]


def answers(found: object) -> Any:  # noqa: ANN401 - each of them has its own type
    """Return a coroutine function that answers so."""

    async def answer(*_: object) -> object:
        return found

    return answer


OUTCOMES = TopicPartition("outcomes", 0)


async def facts_of_a_beginning(
    monkeypatch: pytest.MonkeyPatch, log: Log, end_after_commit: int
) -> set[type[Fact]]:
    """Return what a group without a position notes, by the log of its outcomes topic."""
    kafka = KafkaSettings.model_validate({"outcomes_topic": "outcomes"})
    identity = Identity("cluster", {"events": "topic-id"}, {"outcomes": (OUTCOMES,)})
    leaders = Leaders({OUTCOMES: (log.first, log.last), PLACE: (100, 200)})

    class CommittingProducer(ScriptedProducer):
        async def commit_transaction(self) -> None:
            leaders.answers[OUTCOMES] = (log.first, end_after_commit)

    position = OffsetAndMetadata(200, "")
    monkeypatch.setattr(start_positions, "identify", answers(identity))
    monkeypatch.setattr(beginning, "has_positions", answers(found=False))
    monkeypatch.setattr(beginning, "FencingProducer", partial(CommittingProducer, Script()))
    monkeypatch.setattr(start_positions, "stable_committed", answers({PLACE: position}))
    consumer: Any = SimpleNamespace(_client=leaders)
    facts: list[Fact] = []

    positions = StartPositions(kafka, TransactionLog(kafka), facts.append)
    await positions.read(consumer, GroupMetadata(kafka.group_id, 1, "member", None), [PLACE])
    return set(map(type, facts))


async def test_outcomes_of_replicas_that_start_at_once_are_no_sign_of_an_earlier_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others write outcomes as soon as the beginning is committed, before this one looks."""
    assert await facts_of_a_beginning(monkeypatch, Log(0, 0), 27) == {GroupBegun}


@pytest.mark.parametrize("log", [Log(0, 27), Log(20, 27), Log(27, 27)])
async def test_outcomes_that_were_written_before_are_a_sign_of_an_earlier_group(
    monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """Retention may have deleted all of them in the days in which the positions expired."""
    assert await facts_of_a_beginning(monkeypatch, log, log.last) == {GroupBegunAgain}


class Positions:
    """The start positions of a group that has one in `PLACE` and none in `ADDED`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, leaders: Leaders) -> None:
        self.script, self.facts = Script(), list[Fact]()
        self._kafka = kafka = KafkaSettings.model_validate({})
        self.consumer: Any = SimpleNamespace(_client=leaders)
        identity = Identity("cluster", {"events": "topic-id"}, {"events": (PLACE, ADDED)})
        self.here, self.there = (identity.binding(kafka.group_id, at) for at in (PLACE, ADDED))
        known = {PLACE: OffsetAndMetadata(150, offset_map.encode(150, 0, self.here))}
        monkeypatch.setattr(transaction, "FencingProducer", partial(ScriptedProducer, self.script))
        monkeypatch.setattr(start_positions, "identify", answers(identity))
        monkeypatch.setattr(start_positions, "begin_group", answers(None))
        monkeypatch.setattr(start_positions, "stable_committed", answers(known))
        self._log = TransactionLog(kafka)
        self._positions = StartPositions(kafka, self._log, self.facts.append)

    async def read(self) -> Starts:
        """Return the starts of both partitions."""
        await self._log.start()
        self._log.group = GroupMetadata(self._kafka.group_id, 1, "member", None)
        found = await self._positions.read(self.consumer, self._log.group, [PLACE, ADDED])
        await self._log.stop()
        return found


async def test_an_added_partition_begins_at_its_first_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its beginning is committed before it is read; the others resume at their positions."""
    positions = Positions(monkeypatch, Leaders({PLACE: (100, 200), ADDED: (7, 9)}))

    found = await positions.read()

    here, there = Start(150, binding=positions.here), Start(7, binding=positions.there)
    assert found == ({PLACE: here, ADDED: there}, None, frozenset())
    assert positions.script.steps == ["open", "begin", "offsets", "commit"]
    assert [type(fact) for fact in positions.facts] == [GroupBegun]
    assert "events/1 at 7 (2 records)" in str(positions.facts)


@pytest.mark.parametrize("silent", [PLACE, ADDED])
async def test_a_partition_without_a_leader_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, silent: TopicPartition
) -> None:
    """It has to be read later, whether it has a position or not, and is reported once."""
    monkeypatch.setattr(ends, "LEADERS_SECONDS_MAX", 0.02)
    leaders = Leaders({PLACE: (100, 200), ADDED: (7, 9)})
    leaders.leaderless.add(silent)
    positions = Positions(monkeypatch, leaders)

    for _ in range(2):
        found = await positions.read()
        assert found.starts.keys() == {PLACE, ADDED} - {silent}
        assert found.reread_seconds is None
        assert found.unreadable == {silent}
    [fact] = [fact for fact in positions.facts if isinstance(fact, PartitionsUnreadable)]
    assert f"events/{silent.partition}." in fact.message

    leaders.leaderless.clear()
    found = await positions.read()
    assert found.starts.keys() == {PLACE, ADDED}
    assert not found.unreadable


async def test_a_leader_is_asked_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the group is joined again once, and not for each look."""
    monkeypatch.setattr(start_positions, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(ends, "LEADERS_SECONDS_MAX", 0.002)
    leaders = Leaders({PLACE: AWAY, ADDED: AWAY})
    consumer: Any = SimpleNamespace(_client=leaders)
    waiting = asyncio.create_task(until_readable(consumer, [PLACE, ADDED]))
    while leaders.requests < 10:  # noqa: ASYNC110 - of the code under test
        await asyncio.sleep(0.001)
    assert not waiting.done()

    leaders.answers[ADDED] = (7, 9)
    async with asyncio.timeout(10):
        await waiting


async def test_a_group_begins_when_all_leaders_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With START_FROM=latest, a partition that is left out would begin at its earliest record."""
    monkeypatch.setattr(ends, "LEADERS_SECONDS_MAX", 0.02)
    script = Script()
    monkeypatch.setattr(beginning, "has_positions", answers(found=False))
    monkeypatch.setattr(beginning, "FencingProducer", partial(ScriptedProducer, script))
    kafka = KafkaSettings.model_validate({"events_topics": "events"})
    identity = Identity("cluster", {}, {"events": (PLACE, ADDED)})
    consumer: Any = SimpleNamespace(_client=Leaders({PLACE: (100, 200), ADDED: AWAY}))
    member = GroupMetadata(kafka.group_id, 1, "member", None)

    with pytest.raises(TimeoutError):
        await beginning.begin_group(consumer, kafka, member, identity)
    assert "commit" not in script.steps
