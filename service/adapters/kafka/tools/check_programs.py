"""Check what `asset-sync translate` and `asset-sync ingress` need of Kafka (docs/contract.md).

Rule 1: a missing permission is a warning here, because each program may log in to Kafka as a user
of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service.adapters.kafka.aiokafka_gaps.permissions import Needs
from service.adapters.kafka.options import REQUEST_TIMEOUT_MS, connection
from service.adapters.kafka.tools.access import (
    CHECK_SECONDS_MAX,
    check_idempotence,
    check_topics,
    check_transactions,
)
from service.adapters.kafka.tools.check_group import check_group
from service.ports import Finding
from service.settings import KafkaSettings

GROUP_SUFFIX = ".translate"
"""What the group of every source has behind `KAFKA__GROUP_ID`, before its name."""


async def check_translate(
    kafka: KafkaSettings, needs: Needs, sources: Sequence[KafkaSettings]
) -> list[Finding]:
    """Return what `translate` lacks, or nothing where Kafka does not answer.

    Args:
        kafka: the settings of the deployment.
        needs: the topics that the sources read and write.
        sources: the settings of each source, with its group and its raw topics.
    """

    async def questions(admin: AIOKafkaAdminClient) -> list[Finding]:
        found = await check_topics(admin, needs, lacking="warning")
        for source in sources:
            found += await check_group(admin, source, lacking="warning")
        prefix = kafka.model_copy(update={"group_id": kafka.group_id + GROUP_SUFFIX})
        return [*found, await check_transactions(prefix, lacking="warning")]

    return await _ask("translate", kafka, questions)


async def check_ingress(kafka: KafkaSettings, needs: Needs) -> list[Finding]:
    """Return what `ingress` lacks, or nothing where Kafka does not answer."""

    async def questions(admin: AIOKafkaAdminClient) -> list[Finding]:
        found = await check_topics(admin, needs, lacking="warning")
        return [*found, await check_idempotence(kafka, lacking="warning")]

    return await _ask("ingress", kafka, questions)


async def _ask(
    program: str,
    kafka: KafkaSettings,
    questions: Callable[[AIOKafkaAdminClient], Awaitable[list[Finding]]],
) -> list[Finding]:
    """Return the answers; none where Kafka does not answer, which `check_kafka` reports."""
    admin = AIOKafkaAdminClient(**connection(kafka), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await asyncio.wait_for(admin.start(), CHECK_SECONDS_MAX)
        return [_for(program, finding) for finding in await questions(admin)]
    except (KafkaError, OSError, TimeoutError):
        return []
    finally:
        await admin.close()


def _for(program: str, finding: Finding) -> Finding:
    """Say whose need it is."""
    message = f"{program}: {finding.message}"
    if finding.grade != "warning":
        return replace(finding, message=message)
    user = f"If `asset-sync {program}` logs in as another user, grant it to that one."
    return replace(finding, message=message, remedy=f"{finding.remedy} {user}")
