"""When a command waits for Kafka, when it asks why nothing comes, and when it gives up."""

import asyncio

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    UnknownTopicOrPartitionError,
)

from service.adapters.kafka.tools import silence
from service.adapters.kafka.tools.silence import Silence, TopicChangedError, close, unless_silent


class Kafka:
    """What Kafka answers to the question why it is silent."""

    def __init__(self) -> None:
        self.reason: Exception | None = None
        self.is_mute = False
        self.questions = 0

    async def answer(self) -> None:
        self.questions += 1
        if self.is_mute:
            await asyncio.get_running_loop().create_future()
        if self.reason is not None:
            raise self.reason


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """A Kafka that is asked soon."""
    monkeypatch.setattr(silence, "ASK_SECONDS", 0.02)
    monkeypatch.setattr(silence, "ANSWER_SECONDS_MAX", 0.02)
    monkeypatch.setattr(silence, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(silence, "SILENT_SECONDS_MAX", 0.3)
    return Kafka()


async def forever() -> None:
    """Wait for a broker as aiokafka does."""
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("reason", [UnknownTopicOrPartitionError("t"), TopicChangedError("t")])
async def test_what_does_not_go_away_ends_the_work_at_once(kafka: Kafka, reason: Exception) -> None:
    kafka.reason = reason
    with pytest.raises(type(reason)):
        await unless_silent(forever(), kafka.answer)
    assert kafka.questions == 1


async def test_a_broker_that_is_away_is_waited_for(kafka: Kafka) -> None:
    """It may be restarting; in the end its error is the reason."""
    kafka.reason = KafkaConnectionError("away")
    with pytest.raises(KafkaConnectionError):
        await unless_silent(forever(), kafka.answer)
    assert kafka.questions > 1


@pytest.mark.parametrize("is_mute", [True, False])
async def test_a_broker_that_gives_no_reason(kafka: Kafka, *, is_mute: bool) -> None:
    kafka.is_mute = is_mute
    with pytest.raises(TimeoutError if is_mute else KafkaTimeoutError):
        await unless_silent(forever(), kafka.answer)


async def test_work_that_ends_in_time(kafka: Kafka) -> None:
    """It is asked for a reason meanwhile; result and error of the work are its own."""

    async def work(error: Exception | None) -> str:
        await asyncio.sleep(0.1)
        if error is not None:
            raise error
        return "done"

    kafka.reason = KafkaConnectionError("away for a moment")
    assert await unless_silent(work(None), kafka.answer) == "done"
    with pytest.raises(KafkaError, match="its own"):
        await unless_silent(work(KafkaError("its own")), kafka.answer)


async def test_progress_ends_a_silence(kafka: Kafka) -> None:
    found = Silence(kafka.answer)
    kafka.reason = KafkaConnectionError("away")
    for _ in range(4):
        await found.continues()
        await asyncio.sleep(0.1)
        await found.continues()
        assert found.reason is kafka.reason
        found.end()
    assert found.reason is None


async def test_a_client_that_cannot_be_closed_is_left(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer flushes what it has, and a broker that is away never takes it."""

    class Client:
        async def stop(self) -> None:
            await forever()

    monkeypatch.setattr(silence, "CLOSE_SECONDS_MAX", 0.02)
    async with asyncio.timeout(5):
        await close(Client())
    assert not kafka.questions
