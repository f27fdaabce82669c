"""Quix Streams: a batching sink; a checkpoint commits the offsets of written batches."""

from concurrent.futures import ThreadPoolExecutor

from pim import (
    BATCH_EVENTS,
    BATCH_SECONDS,
    BOOTSTRAP,
    CALLS_AT_ONCE,
    EVENTS,
    GROUP,
    OUTCOMES,
    SESSION_TIMEOUT_MS,
    Pim,
    calls,
    read,
)
from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

app = Application(
    broker_address=BOOTSTRAP,
    consumer_group=GROUP,
    auto_offset_reset="earliest",
    commit_interval=BATCH_SECONDS,
    commit_every=6 * BATCH_EVENTS,
    auto_create_topics=False,
    consumer_extra_config={"session.timeout.ms": SESSION_TIMEOUT_MS},
)


class PimSink(BatchingSink):
    """Sends a partition's batch by family, four calls at once, and writes the outcomes."""

    def setup(self) -> None:
        """Prepare for the first batch."""
        self._pim = Pim()
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE)
        self._producer = app.get_producer()
        self._producer.__enter__()

    def write(self, batch: SinkBatch) -> None:
        """Send the batch of one partition."""
        events = [read(batch.topic, batch.partition, one.offset, one.value) for one in batch]
        for several in self._threads.map(self._pim.upsert, list(calls(events))):
            for one in several:
                self._producer.produce(OUTCOMES, one.value, one.key)
        self._producer.flush()


stream = app.dataframe(app.topic(EVENTS, value_deserializer="json"))
stream.sink(PimSink())
app.run()
