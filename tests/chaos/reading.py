"""What a committed reader sees of a topic, read on from look to look."""

from dataclasses import dataclass, field

from aiokafka import TopicPartition

from tests.chaos.auditor import RecordId, Stored
from tests.support.service import SystemUnderTest


@dataclass
class Reading:
    """Every committed record of a topic so far, by its place."""

    system: SystemUnderTest
    topic: str
    found: dict[RecordId, Stored] = field(default_factory=dict)
    _positions: dict[TopicPartition, int] = field(default_factory=dict)

    async def catch_up(self) -> int:
        """Read to the end of the log; how many records there are."""
        async with self.system.reader(self.topic) as consumer:
            for record_id, position in self._positions.items():
                consumer.seek(record_id, position)
            record_ids = consumer.assignment()
            ends = await consumer.end_offsets(record_ids)
            while not all([await consumer.position(p) >= ends[p] for p in record_ids]):
                for record_id, records in (await consumer.getmany(timeout_ms=500)).items():
                    for one in records:
                        stored = (one.key, one.value, dict(one.headers))
                        self.found[record_id.partition, one.offset] = stored
            self._positions = {
                record_id: await consumer.position(record_id) for record_id in record_ids
            }
        return len(self.found)
