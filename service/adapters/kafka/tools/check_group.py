"""Check that the group is used by asset-sync alone, by its members and its positions."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, for_code
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps.identity import identify_for
from service.adapters.kafka.aiokafka_gaps.newer_members import newer_members
from service.adapters.kafka.errors import describe
from service.core.model import Binding
from service.core.settle import offset_map
from service.ports import Finding, Grade
from service.settings import KafkaSettings

SECONDS_MAX = 15.0
RETRY_SECONDS = 0.5
ASSIGNOR = StickyPartitionAssignor.name


class Member(NamedTuple):
    """One member of the group."""

    client_id: str
    host: str
    topics: frozenset[str]
    """The topics to which the member subscribed; empty while the group rebalances."""
    is_newer: bool = False
    """Whether it uses `group.protocol=consumer` (KIP-848), which asset-sync never does."""

    @property
    def name(self) -> str:
        """The client id and the host of the member."""
        return f"{self.client_id} at {self.host}"


class Members(NamedTuple):
    """The members of the group, and how its partitions are assigned."""

    protocol_type: str
    assignor: str
    members: tuple[Member, ...]


async def check_group(
    admin: AIOKafkaAdminClient, kafka: KafkaSettings, *, lacking: Grade = "failed"
) -> list[Finding]:
    """Return findings about the members, and about positions that asset-sync did not commit.

    `lacking` is the grade of a group that the broker does not show.
    """
    try:
        async with asyncio.timeout(SECONDS_MAX):
            offsets = await _offsets(admin, kafka.group_id)
            members = await _members(admin, kafka.group_id)
            identity = await identify_for(
                admin, {topic_partition.topic for topic_partition in offsets}
            )
    except (KafkaError, TimeoutError) as error:
        remedy = f"Grant Read on the group {kafka.group_id}."
        return [Finding(lacking, f"Group {kafka.group_id}: {describe(error, kafka)}", remedy)]
    flawed = [
        finding
        for topic_partition, found in sorted(offsets.items())
        for finding in _position(
            topic_partition, found, identity.binding(kafka.group_id, topic_partition)
        )
    ]
    known = f"{len(offsets)} committed offsets" if offsets else "no committed offset yet"
    return [
        *(flawed or [Finding("ok", f"Group {kafka.group_id} has {known}.")]),
        *_members_findings(kafka, members),
    ]


def _position(
    topic_partition: TopicPartition, found: OffsetAndMetadata, binding: Binding
) -> Iterator[Finding]:
    partition = f"{topic_partition.topic}/{topic_partition.partition}"
    offset = f"{partition}: the committed offset {found.offset}"
    try:
        offset_map.decode(found.offset, found.metadata or "", binding)
    except offset_map.RecreatedTopicError as error:
        remedy = "When the service gets the partition, it begins at the earliest record."
        yield Finding("warning", f"{offset} is of an earlier topic: {error}.", remedy)
    except offset_map.MisplacedMapError as error:
        remedy = (
            "Check whether it was moved or copied (MirrorMaker, kafka-consumer-groups). The "
            "service uses the offset without its offset map: changes above it that were completed "
            "before get a second outcome."
        )
        message = f"{offset} was not committed by asset-sync with this metadata: {error}."
        yield Finding("warning", message, remedy)
    except offset_map.OffsetMapError as error:
        remedy = "Another application uses the group: give asset-sync one of its own."
        yield Finding("failed", f"{partition}: {error}.", remedy)


def _members_findings(kafka: KafkaSettings, group: Members) -> Iterator[Finding]:
    """Yield whether a replica can join, and which other members there are."""
    name = kafka.group_id
    listed = ", ".join(member.name for member in group.members)
    if not group.members:
        yield Finding("ok", f"Group {name} has no member now.")
    elif newer := [member.name for member in group.members if member.is_newer]:
        remedy = (
            "Give asset-sync a group of its own (ASSET_SYNC_KAFKA__GROUP_ID), or stop the other "
            "application: the events of the partitions that it gets never reach the PIM."
        )
        message = f"Another application uses group {name} (group.protocol=consumer): "
        yield Finding("failed", f"{message}{', '.join(newer)}.", remedy)
    elif group.protocol_type != ConsumerProtocol.PROTOCOL_TYPE or group.assignor not in {
        "",
        ASSIGNOR,
    }:
        remedy = (
            "Give asset-sync a group of its own (ASSET_SYNC_KAFKA__GROUP_ID), or stop the other "
            f"application: a replica cannot join it with its assignor, {ASSIGNOR}."
        )
        details = f"protocol {group.protocol_type}, assignor {group.assignor}"
        yield Finding(
            "failed", f"Another application uses group {name} ({details}): {listed}.", remedy
        )
    elif strangers := [member for member in group.members if _is_stranger(kafka, member)]:
        remedy = (
            "A group is for the replicas of one deployment, with the same CLIENT_ID and "
            "EVENTS_TOPICS: stop the others, or give asset-sync a group of its own."
        )
        with_topics = ", ".join(
            f"{member.name} (topics {', '.join(sorted(member.topics))})" for member in strangers
        )
        message = f"Group {name} has members of another deployment or application: {with_topics}."
        yield Finding("warning", message, remedy)
    else:
        yield Finding("ok", f"Members of group {name}: {len(group.members)} ({listed}).")


def _is_stranger(kafka: KafkaSettings, member: Member) -> bool:
    has_other_topics = member.topics and member.topics != set(kafka.events_topic_names)
    return member.client_id != kafka.client_id or bool(has_other_topics)


async def _members(admin: AIOKafkaAdminClient, group: str) -> Members:
    [response] = await admin.describe_consumer_groups([group])
    code, _, _, protocol_type, assignor, members, *_ = response.groups[0]
    if code:
        raise for_code(code)(group)
    if not members:
        return await _newer_members(admin, group)
    return Members(
        protocol_type,
        assignor,
        tuple(
            Member(client_id, host.removeprefix("/"), _topics(protocol_type, metadata))
            for _, client_id, host, metadata, _ in members
        ),
    )


async def _newer_members(admin: AIOKafkaAdminClient, group: str) -> Members:
    """Return the members of a group that a broker does not show to the older request."""
    members = [
        Member(found.client_id, found.host.removeprefix("/"), found.topics, found.is_newer)
        for found in await newer_members(admin, group)
    ]
    return Members(ConsumerProtocol.PROTOCOL_TYPE, "", tuple(members))


def _topics(protocol_type: str, metadata: bytes) -> frozenset[str]:
    if protocol_type != ConsumerProtocol.PROTOCOL_TYPE or not metadata:
        return frozenset()
    return frozenset(ConsumerProtocol.METADATA.decode(metadata).subscription)


async def _offsets(
    admin: AIOKafkaAdminClient, group: str
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return the positions of the group.

    A broker that has just started elects the coordinator of the group first, which is waited for.
    """
    while True:
        try:
            found = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return {
                topic_partition: position
                for topic_partition, position in found.items()
                if position.offset >= 0
            }
