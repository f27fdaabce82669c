"""The watch over a replica: when a consumer that does not poll is stuck."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from service.adapters.kafka import assignment
from service.adapters.kafka.aiokafka_gaps.group_membership import GroupMetadata
from service.adapters.kafka.assignment import Assignment
from service.adapters.kafka.start_positions import StartPositions, Starts
from service.adapters.kafka.subscription import Subscription
from service.adapters.kafka.transaction import TransactionLog
from service.apps import watch
from service.apps.watch import POLL_SILENCE_SECONDS_MAX, Watch
from service.core.inputs import DrainKind, Input, Start
from service.settings import KafkaSettings

TOPIC_PARTITION = TopicPartition("dam.asset-changes", 0)
LONG = POLL_SILENCE_SECONDS_MAX + 1


class Watched:
    """A watch over an assignment and a consumer, both without a broker, at a time of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.drained = asyncio.Event()
        self.failures: list[BaseException] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(watch, "LOOK_SECONDS", 0.0)
        monkeypatch.setattr(assignment, "watch_membership", lambda *_: None)
        monkeypatch.setattr(assignment, "keep_heartbeat", lambda _: None)
        member = GroupMetadata("asset-sync", 7, "member", None)
        monkeypatch.setattr(assignment, "group_metadata", lambda _: member)
        monkeypatch.setattr(StartPositions, "read", self._read)
        kafka = KafkaSettings.model_validate({})
        inbox: Any = SimpleNamespace(submit=self._submit, drain=self._drain)
        consumer: Any = SimpleNamespace(
            seek=lambda *_: None, partitions_for_topic=lambda _: {0}, pause=lambda *_: None
        )
        self.assignment = Assignment(
            Subscription(kafka, 10),
            TransactionLog(kafka),
            inbox,
            lambda _: None,
            self.failures.append,
            lambda: consumer,
        )
        group_consumer: Any = SimpleNamespace(
            polled_at=self.now, assignment=self.assignment, lags={}, measure_lags=self._nothing
        )
        runner: Any = SimpleNamespace(stepped_at=self.now, is_fenced=asyncio.Event())
        contact: Any = SimpleNamespace(check=self._nothing, is_unreachable=False, lines=list)
        report: Any = SimpleNamespace(live=dict, live_lines=list, ready_lines=list)
        progress: Any = SimpleNamespace(assigned=lambda *_: None, pass_time=lambda *_: None)
        self.shutdown = SimpleNamespace(
            fail=self.failures.append, has_begun=False, is_requested=False
        )
        shutdown: Any = self.shutdown
        self.watch = Watch(
            runner, group_consumer, contact, report, progress, shutdown, pending=lambda: 0
        )

    async def look(self) -> bool:
        """Let the watch look, and return whether the consumer polls as far as it can tell."""
        looking = asyncio.create_task(self.watch.run())
        for _ in range(5):
            await asyncio.sleep(0)
        looking.cancel()
        return not self.failures and self.watch.live()["poll"]

    async def assign(self) -> None:
        """A partition is assigned."""
        await self.assignment.on_partitions_assigned([TOPIC_PARTITION])
        assert not self.failures

    async def _read(self, *_: object) -> Starts:
        return Starts({TOPIC_PARTITION: Start(0)}, None)

    def _submit(self, _: Input) -> None:
        """Nobody works on it."""

    async def _drain(self, *_: DrainKind | float) -> int:
        await self.drained.wait()
        return 0

    async def _nothing(self, *_: object) -> None:
        """Nothing is measured."""


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A watch whose clock is set by the test."""
    return Watched(monkeypatch)


async def test_a_consumer_that_no_longer_polls_ends_the_process(watched: Watched) -> None:
    """Only a restart helps."""
    await watched.assign()
    assert await watched.look()

    watched.now += LONG
    assert not await watched.look()
    assert "The Kafka consumer is stuck" in str(watched.failures[0])


async def test_a_consumer_cannot_poll_while_a_revocation_drains(watched: Watched) -> None:
    """A PIM that hangs makes the drain take longer than a silence that is allowed elsewhere."""
    await watched.assign()
    revoking = asyncio.create_task(watched.assignment.on_partitions_revoked([TOPIC_PARTITION]))
    await asyncio.sleep(0)

    watched.now += LONG
    assert await watched.look()
    assert watched.assignment.epoch is not None, "it drains"

    watched.drained.set()
    await revoking
    assert await watched.look()


async def test_the_silence_of_a_rebalance_does_not_count_after_it(watched: Watched) -> None:
    """The first poll ends some time after the assignment begins, which others may delay."""
    watched.now += LONG
    await watched.assign()
    assert await watched.look()

    watched.now += LONG
    assert not await watched.look()


async def test_a_partition_whose_leader_is_away_is_shown(watched: Watched) -> None:
    """Nothing else shows it, since the pipeline does not have it."""
    watched.assignment.unreadable = frozenset({TOPIC_PARTITION})
    line = "[ ]dam.asset-changes/0 is not read: its leader does not answer"
    assert watched.watch.ready_lines() == watched.watch.live_lines() == [line]


async def test_a_drain_is_no_failure_of_the_producer(watched: Watched) -> None:
    """It still writes outcomes; an operator would look for a fault of Kafka."""
    await watched.assign()
    ready = {"kafka": True, "group": True, "producer": True, "not_draining": True}
    assert watched.watch.ready() == ready

    watched.shutdown.has_begun = watched.shutdown.is_requested = True
    assert watched.watch.ready() == ready | {"not_draining": False}

    watched.shutdown.is_requested = False  # an error was first
    assert watched.watch.ready() == ready | {"producer": False}
