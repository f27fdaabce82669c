"""A transactional producer without broker: it follows a script, and records its steps."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps.fencing_producer import FencingProducer
from service.adapters.kafka.aiokafka_gaps.group_membership import GroupMetadata

PARTITIONS = 3


@dataclass
class Script:
    """The errors to come and the steps done, for all producers that replace one another."""

    steps: list[str] = field(default_factory=list)
    """The steps: open, begin, the topic of each batch, offsets, commit or abort."""
    send_errors: list[Exception] = field(default_factory=list)
    """The errors of the next batches."""
    is_slow: bool = False
    """Whether no batch is ever acknowledged."""
    offsets_errors: list[Exception] = field(default_factory=list)
    """The errors of the next positions."""
    breaks: int = 0
    """How many transactions leave the library in an error state."""
    commit_hangs: bool = False
    """Whether a commit is sent and never answered."""


class ScriptedProducer(FencingProducer):
    """A producer with aiokafka's own batches, whose requests are answered by the script."""

    def __init__(self, script: Script, **options: Any) -> None:  # noqa: ANN401 - aiokafka's
        super().__init__(**options)
        self._script = script
        self._is_broken = False

    async def start(self) -> None:
        """Connect to nothing."""
        self._script.steps.append("open")

    async def stop(self) -> None:
        """Close nothing."""
        self._closed = True  # else the library warns of it

    async def abandon(self) -> None:
        """Close nothing."""
        self._closed = True

    async def partitions_for(self, topic: str) -> set[int]:  # noqa: ARG002 - aiokafka's
        return set(range(PARTITIONS))

    async def begin_transaction(self) -> None:
        self._script.steps.append("begin")

    async def send_batch(
        self,
        batch: Any,  # noqa: ANN401, ARG002 - aiokafka's
        topic: str,
        *,
        partition: int,  # noqa: ARG002 - aiokafka's
    ) -> asyncio.Future[object]:
        self._script.steps.append(topic)
        sent: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self._script.is_slow:
            return sent
        if self._script.send_errors:
            sent.set_exception(self._script.send_errors.pop(0))
        else:
            sent.set_result(None)
        return sent

    async def send_offsets(
        self,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],  # noqa: ARG002 - aiokafka's
        group: GroupMetadata,  # noqa: ARG002 - likewise
    ) -> None:
        if self._script.offsets_errors:
            raise self._script.offsets_errors.pop(0)
        self._script.steps.append("offsets")
        if self._script.breaks:
            self._script.breaks -= 1
            self._is_broken = True

    async def commit_transaction(self) -> None:
        self._script.steps.append("commit")
        if self._script.commit_hangs:
            self.unanswered_ends = 1
            await asyncio.get_running_loop().create_future()

    async def abort_transaction(self) -> None:
        self._script.steps.append("abort")

    @property
    def is_usable(self) -> bool:
        return not self._is_broken
