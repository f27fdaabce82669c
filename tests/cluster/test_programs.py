"""Ingress and translate in pods of their own: webhooks arrive, and become outcomes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.playground.audit import audit_items
from service.playground.embedded_kafka import free_ports
from service.playground.local_system import LocalSystem
from service.playground.pim.tokens import Tokens
from service.playground.raw_traffic import publish, send_webhooks
from service.playground.three_dams import (
    SECRET,
    SECRET_NAME,
    SOURCES_FILE,
    TOPICS,
    WEBHOOK_PATH,
    by_source,
    items_of,
    raw_events,
)
from tests.cluster.commands import Cluster, Helm, Release
from tests.cluster.conftest import chart_values

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

EVENTS = 150
SECRET_OF_WEBHOOKS = "webhooks"


@pytest.fixture
async def raw_system(cluster: Cluster, tmp_path: Path) -> AsyncIterator[LocalSystem]:
    """Topics of a test's own, and the raw topics of three DAMs."""
    async with LocalSystem(
        cluster.bootstrap,
        cluster.pim_url,
        Tokens(),
        tmp_path,
        partitions=6,
        more_topics=tuple(TOPICS.values()),
    ) as made:
        yield made


async def test_webhooks_of_a_dam_become_outcomes(
    cluster: Cluster, helm4: Helm, namespace: str, raw_system: LocalSystem, tmp_path: Path
) -> None:
    """All three programs of the chart, while translate and ingress are replaced once."""
    values = chart_values(cluster, raw_system)
    release = Release(cluster, helm4, namespace, tmp_path, values)
    secret = (f"--from-literal={SECRET_NAME}={SECRET}",)
    await release.kubectl("create", "secret", "generic", SECRET_OF_WEBHOOKS, *secret)
    programs = {
        "sources": {"file": SOURCES_FILE},
        "ingress": {"enabled": True, "secret": {"existingSecret": SECRET_OF_WEBHOOKS}},
        "translate": {"enabled": True},
    }
    await release.apply(**programs)
    for program in ("service", "ingress", "translate"):
        await release.until_ready(2, program)

    events = raw_events(EVENTS)
    async with webhooks_url(release) as url:
        for source, own in by_source(events):
            if source == "cloudinary":
                await send_webhooks(url + WEBHOOK_PATH, own)
            else:
                await publish(cluster.bootstrap, TOPICS[source], own)
    await release.apply(**programs, podAnnotations={"asset-sync/again": "1"})
    outcomes = await raw_system.outcome_data(items_of(events))
    assert audit_items(items_of(events), outcomes).flaws == []
    assert {"applied", "rejected", "skipped"} <= {one["data"]["status"] for one in outcomes}


@contextlib.asynccontextmanager
async def webhooks_url(release: Release) -> AsyncIterator[str]:
    """The Service of ingress, by a forwarded port: nothing here serves addresses of Services."""
    (port,) = free_ports(1)
    forwarding = await asyncio.create_subprocess_exec(
        release.cluster.kubectl_program, "port-forward", "service/it-asset-sync-ingress",
        f"--namespace={release.namespace}", f"{port}:80",
        stdout=asyncio.subprocess.PIPE, env=dict(release.cluster.environ),
    )  # fmt: skip
    assert forwarding.stdout is not None
    try:
        async with asyncio.timeout(30):
            await forwarding.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        forwarding.terminate()
        await forwarding.communicate()
