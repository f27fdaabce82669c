"""A committed reader of a topic that continues where its last read ended."""

from dataclasses import dataclass, field

from aiokafka import TopicPartition

from service.playground.local_system import LocalSystem, Stored
from tests.chaos.auditor import RecordId


@dataclass
class TopicReader:
    """Every committed record of a topic so far, by partition and offset."""

    system: LocalSystem
    topic: str
    found: dict[RecordId, Stored] = field(default_factory=dict)
    _positions: dict[TopicPartition, int] = field(default_factory=dict)

    async def catch_up(self) -> int:
        """Read to the end of the log; return how many records there are."""
        async with self.system.reader(self.topic) as consumer:
            for topic_partition, position in self._positions.items():
                consumer.seek(topic_partition, position)
            assigned = consumer.assignment()
            ends = await consumer.end_offsets(assigned)
            while not all([await consumer.position(one) >= ends[one] for one in assigned]):
                batches = await consumer.getmany(timeout_ms=500)
                for topic_partition, records in batches.items():
                    for record in records:
                        stored = (record.key, record.value, dict(record.headers))
                        self.found[topic_partition.partition, record.offset] = stored
            self._positions = {one: await consumer.position(one) for one in assigned}
        return len(self.found)
