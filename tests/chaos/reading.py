"""What a committed reader sees of a topic, read on from look to look."""

from dataclasses import dataclass, field

from aiokafka import TopicPartition

from tests.chaos.auditor import Place, Stored
from tests.support.service import Bench


@dataclass
class Reading:
    """Every committed record of a topic so far, by its place."""

    bench: Bench
    topic: str
    found: dict[Place, Stored] = field(default_factory=dict)
    _positions: dict[TopicPartition, int] = field(default_factory=dict)

    async def catch_up(self) -> int:
        """Read to the end of the log; how many records there are."""
        async with self.bench.reader(self.topic) as consumer:
            for place, position in self._positions.items():
                consumer.seek(place, position)
            places = consumer.assignment()
            ends = await consumer.end_offsets(places)
            while not all([await consumer.position(p) >= ends[p] for p in places]):
                for place, records in (await consumer.getmany(timeout_ms=500)).items():
                    for one in records:
                        stored = (one.key, one.value, dict(one.headers))
                        self.found[place.partition, one.offset] = stored
            self._positions = {place: await consumer.position(place) for place in places}
        return len(self.found)
