"""The leaders of partitions as a consumer's client asks them for offsets, without a broker."""

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.offset import OffsetRequest

from service.adapters.kafka.ends import EARLIEST, READ_COMMITTED

NO_LEADER = -1
HANGS = "hangs"
AWAY = "away"
Answer = tuple[int, int] | int | str
"""The first and the last offset, the code of an error, or what its leader does instead."""


class Leaders:
    """A fake of aiokafka's client: each partition has a broker of its own as its leader."""

    def __init__(self, answers: dict[TopicPartition, Answer]) -> None:
        self.answers = answers
        self.leaderless: set[TopicPartition] = set()
        """Partitions of which no broker is the leader."""
        self.open_transactions: dict[TopicPartition, int] = {}
        """How many offsets before the end a committed reader does not see."""
        self.requests = 0
        self.topics: set[str] = set()
        self.cluster = SimpleNamespace(leader_for_partition=self._leader)

    async def send(self, node: int, request: OffsetRequest) -> Any:  # noqa: ANN401 - aiokafka's
        """Answer as the leader of the one partition that is asked for."""
        self.requests += 1
        [(topic, [(number, at)])] = request._topics
        topic_partition = TopicPartition(topic, number)
        assert self._leader(topic_partition) == node
        answer = self.answers[topic_partition]
        if answer == HANGS:
            await asyncio.get_running_loop().create_future()
        if isinstance(answer, str):
            raise NodeNotReadyError(answer)
        if isinstance(answer, int):
            return _response(topic_partition, answer, -1)
        first, last = answer
        if request._isolation_level == READ_COMMITTED:
            last -= self.open_transactions.get(topic_partition, 0)
        return _response(topic_partition, 0, first if at == EARLIEST else last)

    def add_topic(self, topic: str) -> None:
        """Read the metadata of one more topic."""
        self.topics.add(topic)

    def force_metadata_update(self) -> None:
        """Read the metadata again."""

    async def _maybe_wait_metadata(self) -> None:
        """Wait until the metadata was read."""

    def _leader(self, topic_partition: TopicPartition) -> int | None:
        if topic_partition not in self.answers:
            return None
        if topic_partition in self.leaderless:
            return NO_LEADER
        return list(self.answers).index(topic_partition)


def _response(topic_partition: TopicPartition, code: int, offset: int) -> Any:  # noqa: ANN401
    topic, number = topic_partition
    return SimpleNamespace(topics=[(topic, [(number, code, -1, offset)])])
