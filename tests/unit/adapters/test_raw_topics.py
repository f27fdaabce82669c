"""What the writer of raw topics counts and replaces, on producers that follow a script.

tests/contract/test_raw_topics.py sees the same on a broker.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import NotEnoughReplicasError

from service.adapters.kafka import raw_topics
from service.adapters.kafka.raw_topics import RawTopicsWriter
from service.core.facts import Fact
from service.settings import KafkaSettings
from service.webhooks.facts import ProducerReplaced, RecordNotWritten
from service.webhooks.record import IngressRecord
from tests.support.waiting import until

RECORD = IngressRecord("raw", b"k", b"v", ())
WRITE_SECONDS = 0.05


class ScriptedProducer(AIOKafkaProducer):  # type: ignore[misc] # aiokafka has no types
    """A producer whose records are answered by the test."""

    def __init__(self, made: "list[ScriptedProducer]", **options: Any) -> None:  # noqa: ANN401 - aiokafka's
        super().__init__(**options)
        self.sent: list[asyncio.Future[object]] = []
        self.is_settled = asyncio.Event()
        self.client.force_metadata_update = self._look
        made.append(self)

    async def start(self) -> None:
        """Connect to nothing."""

    async def send(self, *_: object, **__: object) -> asyncio.Future[object]:
        self.sent.append(asyncio.get_running_loop().create_future())
        return self.sent[-1]

    async def flush(self) -> None:
        await self.is_settled.wait()

    def _look(self) -> asyncio.Future[bool]:
        found: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        found.set_result(True)
        return found


class Scripted:
    """A started writer, its producers in order, and the facts that it noted."""

    def __init__(self) -> None:
        self.producers: list[ScriptedProducer] = []
        self.facts: list[Fact] = []
        kafka = KafkaSettings.model_validate({})
        self.writer = RawTopicsWriter(kafka, self.facts.append, WRITE_SECONDS)

    @property
    def noted(self) -> list[type[Fact]]:
        return [type(fact) for fact in self.facts]

    async def sending(self) -> "asyncio.Task[bool]":
        """Begin to write a record, which waits for its acknowledgement then."""
        writing = asyncio.create_task(self.writer.write(RECORD))
        await asyncio.sleep(0)
        return writing


@pytest.fixture
async def scripted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scripted]:
    """Yield a writer that looks all the time, and waits nowhere."""
    made = Scripted()
    monkeypatch.setattr(raw_topics, "AIOKafkaProducer", partial(ScriptedProducer, made.producers))
    monkeypatch.setattr(raw_topics, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(raw_topics, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(raw_topics, "DEADLINE_SECONDS", 0.0)
    await made.writer.start()
    yield made
    await made.writer.stop()


async def test_what_is_acknowledged_leaves_nothing_behind(scripted: Scripted) -> None:
    writing = await scripted.sending()
    scripted.producers[0].sent[0].set_result(None)

    assert await writing
    assert scripted.writer.unsettled == 0
    assert scripted.noted == []


async def test_a_late_record_counts_until_it_is_settled(scripted: Scripted) -> None:
    """Its sender is told in time, and the producer goes on trying."""
    assert not await scripted.writer.write(RECORD)
    assert scripted.writer.unsettled == 1
    assert scripted.noted == [RecordNotWritten]

    scripted.producers[0].is_settled.set()
    await until(lambda: scripted.writer.unsettled == 0)


async def test_a_cancelled_write_counts_until_it_is_settled(scripted: Scripted) -> None:
    """The request has ended, so nobody is told anything."""
    writing = await scripted.sending()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert scripted.writer.unsettled == 1
    assert scripted.noted == []

    scripted.producers[0].is_settled.set()
    await until(lambda: scripted.writer.unsettled == 0)


async def test_only_a_producer_that_failed_is_replaced(scripted: Scripted) -> None:
    """By the next look, once; its successor goes on."""
    keeping = asyncio.create_task(scripted.writer.keep_going())
    await asyncio.sleep(0.05)
    assert len(scripted.producers) == 1

    writing = await scripted.sending()
    scripted.producers[0].sent[0].set_exception(NotEnoughReplicasError())
    assert not await writing
    await until(lambda: len(scripted.producers) == 2)
    await asyncio.sleep(0.05)

    assert len(scripted.producers) == 2
    assert scripted.noted == [RecordNotWritten, ProducerReplaced]
    keeping.cancel()
