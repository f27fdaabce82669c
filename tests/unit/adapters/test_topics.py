"""How a command writes records: acknowledged in portions, and stopped at the first refusal."""

import asyncio

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, NotEnoughReplicasError

from service.adapters.kafka.tools import topics
from service.adapters.kafka.tools.topics import BATCH_RECORDS, NewRecord, WriteError, write
from service.settings import KafkaSettings

KAFKA = KafkaSettings.model_validate({})
TOO_LARGE, UNWRITTEN = b"refused at once", b"not acknowledged"


class Producer:
    """A producer that acknowledges every record but those with one of the two values above."""

    def __init__(self, **_: object) -> None:
        self.is_stopped = False

    async def start(self) -> None:
        """Connect to nothing."""

    async def stop(self) -> None:
        self.is_stopped = True

    async def send(self, _: str, value: bytes, **__: object) -> asyncio.Future[object]:
        if value == TOO_LARGE:
            raise MessageSizeTooLargeError
        sent: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if value == UNWRITTEN:
            sent.set_exception(NotEnoughReplicasError())
        else:
            sent.set_result(None)
        return sent


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Producer:
    """The producer of the command, for a topic that is there."""

    async def numbers(*_: object) -> list[int]:
        return [0]

    made = Producer()
    monkeypatch.setattr(topics, "partition_numbers", numbers)
    monkeypatch.setattr(topics, "AIOKafkaProducer", lambda **_: made)
    return made


async def test_records_are_acknowledged_in_portions(producer: Producer) -> None:
    """So memory is bounded, and whoever waits is told."""
    told: list[int] = []
    records = [NewRecord(None, b"v")] * (2 * BATCH_RECORDS + 1)

    assert await write(KAFKA, "events", records, told.append) == len(records)
    assert told == [BATCH_RECORDS, 2 * BATCH_RECORDS, 2 * BATCH_RECORDS + 1]
    assert producer.is_stopped


@pytest.mark.parametrize("value", [TOO_LARGE, UNWRITTEN])
async def test_the_first_record_that_is_refused_is_named(producer: Producer, value: bytes) -> None:
    """With how many were written before it."""
    records = [NewRecord(None, b"v")] * (BATCH_RECORDS + 2) + [NewRecord(None, value)]

    with pytest.raises(WriteError) as raised:
        await write(KAFKA, "events", records)

    assert (raised.value.written, raised.value.failed) == (BATCH_RECORDS + 2, BATCH_RECORDS + 2)
    assert isinstance(raised.value.__cause__, KafkaError)
    assert producer.is_stopped
