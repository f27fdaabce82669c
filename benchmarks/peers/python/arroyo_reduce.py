"""sentry-arroyo: Reduce, then threads, then outcomes, then the commit."""

import json
import signal
from collections.abc import Mapping
from typing import Any

from arroyo import Message, Partition, Topic
from arroyo.backends.kafka import (
    KafkaConsumer,
    KafkaPayload,
    KafkaProducer,
    build_kafka_configuration,
    build_kafka_consumer_configuration,
)
from arroyo.commit import ONCE_PER_SECOND
from arroyo.processing import StreamProcessor
from arroyo.processing.strategies import (
    CommitOffsets,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    Produce,
    Reduce,
    RunTaskInThreads,
    Unfold,
)
from arroyo.types import BaseValue, BrokerValue, Commit, Value
from pim import (
    BATCH_EVENTS,
    BATCH_SECONDS,
    BOOTSTRAP,
    CALLS_AT_ONCE,
    EVENTS,
    GROUP,
    OUTCOMES,
    SESSION_TIMEOUT_MS,
    Event,
    Pim,
    calls,
    read,
)

pim = Pim()
producer = KafkaProducer(build_kafka_configuration({}, bootstrap_servers=[BOOTSTRAP]))


def add(events: list[Event], value: BaseValue[KafkaPayload]) -> list[Event]:
    """Add one event to the batch."""
    assert isinstance(value, BrokerValue)
    place = value.partition
    content = json.loads(value.payload.value)
    events.append(read(place.topic.name, place.index, value.offset, content))
    return events


def upsert(message: Message[list[Event]]) -> list[Value[KafkaPayload]]:
    """Send a batch call by call; `Unfold` commits its offsets with the last outcome."""
    results = [one for call in calls(message.payload) for one in pim.upsert(call)]
    return [Value(KafkaPayload(one.key, one.value, []), {}) for one in results]


class Factory(ProcessingStrategyFactory[KafkaPayload]):
    """The processing steps of a consumer."""

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        """Create the steps for a new assignment."""
        produce = Produce(producer, Topic(OUTCOMES), CommitOffsets(commit), max_buffer_size=20_000)
        unfold: Unfold[Any, Any] = Unfold(lambda several: several, produce)
        threads = RunTaskInThreads(upsert, CALLS_AT_ONCE, CALLS_AT_ONCE, unfold)
        return Reduce(BATCH_EVENTS, BATCH_SECONDS, add, list, threads)


consumer = KafkaConsumer(
    build_kafka_consumer_configuration(
        {},
        bootstrap_servers=[BOOTSTRAP],
        auto_offset_reset="earliest",
        group_id=GROUP,
        override_params={"session.timeout.ms": SESSION_TIMEOUT_MS},
    )
)
processor = StreamProcessor(consumer, Topic(EVENTS), Factory(), ONCE_PER_SECOND)
signal.signal(signal.SIGTERM, lambda *_: processor.signal_shutdown())
processor.run()
