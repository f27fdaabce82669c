"""Find assets whose last event is on another partition than the one of their key today.

Events on two partitions have no order between them (contract.md §4). An asset gets events on two
partitions if partitions were added, or if producers use different partitioners or keys.
"""

import asyncio
from typing import NamedTuple

from service.adapters.kafka.tools.time_order import StoredRecord
from service.adapters.kafka.tools.topics import (
    Read,
    partition_numbers,
    partition_of,
    read,
)
from service.core.limits import DecodeLimits
from service.core.model import Origin, Partition, SourceRecord
from service.core.read.decode import decode
from service.settings import KafkaSettings

LAST_RECORDS_MAX = 1000
"""How many records of each partition are read, counted back from its end."""
TOPIC_RECORDS_MAX = 50_000
"""How many records of the whole topic are read."""
SECONDS_MAX = 10.0
"""Seconds after which reading stops, and the records read so far decide."""

_NO_LIMITS = DecodeLimits(1 << 30)


class Stray(NamedTuple):
    """The partition of the last event of an asset, and the partition of its next event."""

    partition: int
    next_partition: int


class _Last(NamedTuple):
    timestamp_ms: int
    partition: int


async def strays(kafka: KafkaSettings, topic: str) -> dict[str, Stray]:
    """Return the strays by `FAMILY/CODE`, among the last records of each partition.

    Raises:
        KafkaError: the topic cannot be read.
    """
    count = len(await partition_numbers(kafka, topic))
    if count == 1:
        return {}
    last: dict[str, _Last] = {}
    try:
        async with asyncio.timeout(SECONDS_MAX):
            per_partition = min(LAST_RECORDS_MAX, max(1, TOPIC_RECORDS_MAX // count))
            async for record in read(kafka, topic, Read(last=per_partition)):
                if (path := _path(record)) is not None:
                    found = _Last(record.timestamp_ms, record.partition)
                    last[path] = max(found, last.get(path, found))
    except TimeoutError:
        pass
    return {
        path: Stray(partition, next_partition)
        for path, (_, partition) in last.items()
        if (next_partition := partition_of(path.encode(), count)) != partition
    }


def _path(record: StoredRecord) -> str | None:
    origin = Origin(Partition("", record.partition), record.offset, 0)
    source = SourceRecord(origin, record.key, record.value, record.headers)
    asset = decode(source, _NO_LIMITS).asset
    return asset.path if asset else None
