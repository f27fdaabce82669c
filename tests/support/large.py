"""Batches of any size and codec, topics that take them, and the memory of who reads them."""

from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from service.playground.local_system import create_topics

BATCH_BYTES_MAX = 70 * 1024 * 1024


async def create_large_topics(
    bootstrap: str, partitions: int, large: tuple[str, ...], usual: tuple[str, ...]
) -> None:
    """Create topics that take batches up to `BATCH_BYTES_MAX`, and topics that do not."""
    options = {"max.message.bytes": str(BATCH_BYTES_MAX)}
    topics = [NewTopic(name, partitions, 1, topic_configs=options) for name in large]
    await create_topics(bootstrap, [*topics, *(NewTopic(name, partitions, 1) for name in usual)])


async def publish_batch(
    bootstrap: str, topic: str, partition: int, codec: str | None, values: list[bytes]
) -> None:
    """Write all of the values as one batch."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type=codec,
        max_batch_size=1 << 30,
        max_request_size=1 << 30,
        request_timeout_ms=120_000,
    )
    await producer.start()
    batch = producer.create_batch()
    for value in values:
        assert batch.append(timestamp=None, key=None, value=value) is not None
    batch.close()
    await (await producer.send_batch(batch, topic, partition=partition))
    await producer.stop()


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(pid)
