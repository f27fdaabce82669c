"""Read committed positions that no open transaction can change any more (KIP-447).

Stock aiokafka reads positions that a transaction may still change, so that a new owner could begin
below outcomes that are about to be committed, and repeat them (kafka.md §2). This file adds
OffsetFetch v7 with `require_stable`.

Seams, each guarded by a contract test (docs/upgrading-aiokafka.md):
`AIOKafkaConsumer._coordinator`, `GroupCoordinator._send_req`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, Int16, Int32, Schema
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps.group_membership import (
    GroupMovedOnError,
    has_moved_on,
)
from service.adapters.kafka.aiokafka_gaps.requests import (
    COMMITTED,
    NO_ERROR,
    TAGS,
    TEXT,
    by_topic,
    structs,
)

UNSTABLE_OFFSET_COMMIT = 88
STABLE_BACKOFF_SECONDS = 0.1


async def stable_committed(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return committed positions with metadata, once no transaction can change them any more.

    A partition without a committed position has no entry.

    Raises:
        GroupMovedOnError: the group rebalances meanwhile, so the positions would be outdated.
        KafkaError: the coordinator refuses to answer.
    """
    by_topic: dict[str, list[int]] = defaultdict(list)
    for partition in partitions:
        by_topic[partition.topic].append(partition.partition)
    while True:
        committed = _read_committed(await _fetch_positions(consumer, list(by_topic.items())))
        if committed is not None:
            return committed
        await asyncio.sleep(STABLE_BACKOFF_SECONDS)


async def has_positions(consumer: AIOKafkaConsumer) -> bool:
    """Whether the group has a committed position of any partition of any topic.

    Positions in a transaction that is still open do not count.

    Raises:
        GroupMovedOnError: the group rebalances meanwhile, so the answer would be outdated.
        KafkaError: the coordinator refuses to answer.
    """
    while True:
        response = await _fetch_positions(consumer, None, is_stable=False)
        if _is_answer(response.error_code):
            return any(
                offset >= 0
                for _, topic_partitions, _ in response.topics
                for _, offset, *_ in topic_partitions
            )
        await asyncio.sleep(STABLE_BACKOFF_SECONDS)


async def _fetch_positions(
    consumer: AIOKafkaConsumer,
    topics: list[tuple[str, list[int]]] | None,
    *,
    is_stable: bool = True,
) -> Any:
    """Return the coordinator's answer, as soon as it can be reached; None asks for all topics."""
    group = consumer._coordinator
    while True:
        if has_moved_on(consumer):
            raise GroupMovedOnError
        await group.ensure_coordinator_known()
        try:
            return await group._send_req(_OffsetFetch(group.group_id, topics, is_stable=is_stable))
        except KafkaError as error:
            if not error.retriable:
                raise
            await asyncio.sleep(STABLE_BACKOFF_SECONDS)


def _read_committed(
    response: Any,
) -> dict[TopicPartition, OffsetAndMetadata] | None:
    """Return the positions, or None if a transaction may still change one of them."""
    committed: dict[TopicPartition, OffsetAndMetadata] = {}
    codes = {response.error_code}
    for topic, topic_partitions, _ in response.topics:
        for number, offset, _epoch, metadata, code, _tags in topic_partitions:
            codes.add(code)
            if offset >= 0:
                topic_partition = TopicPartition(topic, number)
                committed[topic_partition] = OffsetAndMetadata(offset, metadata or "")
    are_answers = [_is_answer(code) for code in codes - {UNSTABLE_OFFSET_COMMIT}]
    return committed if all(are_answers) and UNSTABLE_OFFSET_COMMIT not in codes else None


def _is_answer(code: int) -> bool:
    """Whether the code is of an answer, rather than of an error that is retried.

    Raises:
        KafkaError: a retry is useless.
    """
    if code == NO_ERROR:
        return True
    error = for_code(code)()
    if not error.retriable or isinstance(error, UnknownTopicOrPartitionError):
        raise error
    return False


class _OffsetFetchResponse7(Response):  # type: ignore[misc]
    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        by_topic("topics", "partitions", *COMMITTED, ("error_code", Int16)),
        ("error_code", Int16),
        TAGS,
    )


class _OffsetFetchRequest7(RequestStruct):  # type: ignore[misc]
    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _OffsetFetchResponse7
    SCHEMA = Schema(
        ("group_id", TEXT),
        ("topics", structs(("topic", TEXT), ("partitions", CompactArray(Int32)))),
        ("require_stable", Boolean),
        TAGS,
    )


class _OffsetFetch(Request[_OffsetFetchRequest7]):  # type: ignore[misc]
    API_KEY = 9

    def __init__(
        self, group_id: str, topics: list[tuple[str, list[int]]] | None, *, is_stable: bool
    ) -> None:
        self._group_id = group_id
        self._topics = topics
        self._is_stable = is_stable

    def build(self, request_struct_class: Any) -> Any:
        topics: list[Any] | None = None
        if self._topics is not None:
            topics = [(topic, numbers, {}) for topic, numbers in self._topics]
        return request_struct_class(self._group_id, topics, self._is_stable, {})
