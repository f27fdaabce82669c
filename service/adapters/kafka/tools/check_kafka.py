"""Check that Kafka is set up as the service needs it (contract.md §5, Topics)."""

import asyncio
from collections.abc import Iterator

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from service.adapters.kafka.aiokafka_gaps.permissions import needs_of_run, topics
from service.adapters.kafka.errors import describe
from service.adapters.kafka.options import REQUEST_TIMEOUT_MS, connection
from service.adapters.kafka.outgoing import OUTCOME_TOPIC_BYTES_MIN
from service.adapters.kafka.tools.access import (
    CHECK_SECONDS_MAX,
    check_transactions,
    topic_finding,
)
from service.adapters.kafka.tools.check_group import check_group
from service.ports import Finding
from service.settings import KafkaSettings

DEAD_LETTER_ROOM_BYTES = 16 * 1024
METADATA_BYTES_MIN = 4096

Configs = dict[str, str]


async def check_kafka(kafka: KafkaSettings) -> list[Finding]:
    """Return all findings, or one finding if the broker cannot be reached."""
    admin = AIOKafkaAdminClient(**connection(kafka), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await asyncio.wait_for(admin.start(), CHECK_SECONDS_MAX)
    except (KafkaError, OSError, TimeoutError) as error:
        await admin.close()
        remedy = "Check ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS and the security settings."
        return [
            Finding(
                "failed", f"Kafka at {kafka.bootstrap_servers}: {describe(error, kafka)}", remedy
            )
        ]
    try:
        return [
            Finding("ok", f"Kafka at {kafka.bootstrap_servers} answers."),
            *await _check_topics(admin, kafka),
            *await _check_broker(admin),
            *await check_group(admin, kafka),
            await check_transactions(kafka),
        ]
    except (KafkaError, OSError) as error:
        message = f"Kafka stopped answering: {describe(error, kafka)}"
        return [Finding("failed", message, "Check the brokers, and run the command again.")]
    finally:
        await admin.close()


async def _check_topics(admin: AIOKafkaAdminClient, kafka: KafkaSettings) -> list[Finding]:
    found = await topics(admin, needs_of_run(kafka))
    findings = [topic_finding(topic) for topic in found]
    present = [topic.name for topic in found if topic.partitions]
    try:
        configs = {name: await _configs(admin, ConfigResourceType.TOPIC, name) for name in present}
    except KafkaError as error:
        remedy = "Grant DescribeConfigs on the topics, or check their policies by hand."
        return [
            *findings,
            Finding("warning", f"Topic settings cannot be read: {describe(error, kafka)}", remedy),
        ]
    return [*findings, *_policies(kafka, configs)]


def _policies(kafka: KafkaSettings, configs: dict[str, Configs]) -> Iterator[Finding]:
    for name in (kafka.outcomes_topic, kafka.dead_letters_topic):
        policy = configs.get(name, {}).get("cleanup.policy", "delete")
        if "compact" in policy:
            remedy = f"Set cleanup.policy=delete on {name}: compaction would drop outcomes."
            yield Finding("failed", f"Topic {name} is compacted ({policy}).", remedy)
    largest, wanted = _bytes(configs.get(kafka.outcomes_topic, {})), OUTCOME_TOPIC_BYTES_MIN
    if largest is not None and largest < wanted:
        remedy = f"Set max.message.bytes of {kafka.outcomes_topic} to {wanted} or more."
        yield Finding(
            "failed",
            f"Outcomes topic too small: an outcome may be larger than {largest:,} bytes.",
            remedy,
        )
    room = _bytes(configs.get(kafka.dead_letters_topic, {}))
    for name in kafka.events_topic_names:
        largest = _bytes(configs.get(name, {}))
        if room is not None and largest is not None and room < largest + DEAD_LETTER_ROOM_BYTES:
            wanted = largest + DEAD_LETTER_ROOM_BYTES
            remedy = f"Set max.message.bytes of {kafka.dead_letters_topic} to {wanted} or more."
            yield Finding(
                "warning",
                f"Dead-letter topic too small: an event of {name} of up to {largest:,} bytes "
                "would be stored there without its value.",
                remedy,
            )


def _bytes(configs: Configs) -> int | None:
    text = configs.get("max.message.bytes", "")
    return int(text) if text.isdigit() else None


async def _check_broker(admin: AIOKafkaAdminClient) -> list[Finding]:
    cluster = await admin.describe_cluster()
    node = str(cluster["brokers"][0]["node_id"])
    try:
        configs = await _configs(admin, ConfigResourceType.BROKER, node)
    except KafkaError:
        remedy = "Check by hand that offset.metadata.max.bytes is 4096 or more."
        return [Finding("warning", "The settings of the broker cannot be read.", remedy)]
    limit = int(configs.get("offset.metadata.max.bytes", METADATA_BYTES_MIN))
    if limit < METADATA_BYTES_MIN:
        remedy = "Set offset.metadata.max.bytes to 4096: with less, outcomes wait for one another."
        return [Finding("warning", f"offset.metadata.max.bytes is {limit}.", remedy)]
    return [Finding("ok", f"offset.metadata.max.bytes is {limit}.")]


async def _configs(admin: AIOKafkaAdminClient, kind: ConfigResourceType, name: str) -> Configs:
    found: Configs = {}
    for response in await admin.describe_configs([ConfigResource(kind, name)]):
        for code, message, _, _, entries in response.resources:
            if code:
                raise for_code(code)(*filter(None, (message,)))
            found |= {entry[0]: entry[1] or "" for entry in entries}
    return found
