"""What only some releases have: ingress and translate, the console, and media files."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest

from service.playground.audit import audit_items
from service.playground.embedded_kafka import EmbeddedKafka, free_ports
from service.playground.local_system import Event, LocalSystem
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
from tests.cluster.backends import FAMILY_WITH_FILES
from tests.cluster.commands import WAIT_SECONDS_MAX, Cluster, CommandError, Helm, Release
from tests.cluster.conftest import chart_values
from tests.cluster.file_host import FILE_HOST_PORT, start_file_host
from tests.support.proof import upsert

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

EVENTS = 150
SECRET_OF_WEBHOOKS = "webhooks"
POSTER = "all that is in the file"
LIST_OF_FILES = """
import pathlib
folder = pathlib.Path("/var/lib/asset-sync/media")
print(*(path.name for path in folder.rglob("*") if path.is_file()))
"""


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
    """Ingress, translate and the service together, while all of their pods are replaced once."""
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
    async with forwarded(release, "it-asset-sync-ingress") as url:
        for source, own in by_source(events):
            if source == "cloudinary":
                await send_webhooks(url + WEBHOOK_PATH, own)
            else:
                await publish(cluster.bootstrap, TOPICS[source], own)
    await release.apply(**programs, podAnnotations={"asset-sync/again": "1"})
    outcomes = await raw_system.outcome_data(items_of(events))
    assert audit_items(items_of(events), outcomes).flaws == []
    assert {"applied", "rejected", "skipped"} <= {one["data"]["status"] for one in outcomes}


async def test_the_console_says_what_became_of_an_asset(
    release4: Release, system: LocalSystem
) -> None:
    """By its Service; the index is all that it writes."""
    await release4.apply(replicaCount=1, console={"enabled": True})
    await release4.until_ready(1, "console")
    await system.publish_events([Event(None, upsert("packshots", "sku_1", {"n": "1"}))])
    assert len(await system.outcome_data(1)) == 1
    async with forwarded(release4, "it-asset-sync-console") as url:
        await until_shown(f"{url}/?code=SKU_1", "In the PIM: the asset was created")
    with pytest.raises(CommandError, match="Read-only file system"):
        await run_in("it-asset-sync-console", release4, "open('/etc/written', 'w')")


async def test_a_media_file_comes_from_a_host_in_the_cluster(
    release4: Release, system: LocalSystem, own_broker: EmbeddedKafka | None
) -> None:
    """It passes through the volume for media files to the PIM, and nothing of it stays."""
    if own_broker is None:
        pytest.skip(f"the PIM of a given cluster has no family {FAMILY_WITH_FILES}")
    host = await start_file_host(release4, **{"poster.jpg": POSTER})
    settings = {
        "MEDIA__PRIVATE_HOSTS": host,
        "MEDIA__MAX_BYTES": "16MiB",
        "MEDIA__DISK_BYTES": "64MiB",
        "MEDIA__REMEMBER": 1000,
    }
    await release4.apply(replicaCount=1, settings=settings)
    file = {"url": f"http://{host}:{FILE_HOST_PORT}/poster.jpg"}
    event = upsert(FAMILY_WITH_FILES, "poster_1", {"media": file})
    await system.publish_events([Event(None, event)])

    (outcome,) = await system.outcome_data(1)
    assert outcome["data"]["status"] == "applied", outcome
    uploaded = json.loads(await text_of(f"{system.pim_url}/_control/media"))
    assert sha256(POSTER.encode()).hexdigest() in {one["sha256"] for one in uploaded.values()}
    kept = await run_in("it-asset-sync", release4, LIST_OF_FILES)
    assert kept.split() == ["lock"]


async def run_in(workload: str, release: Release, code: str) -> str:
    """Run Python code in a pod of a Deployment, and return what it prints."""
    return await release.kubectl("exec", f"deploy/{workload}", "--", "python", "-c", code)


async def until_shown(url: str, words: str) -> None:
    """Wait until a page has these words."""
    page = ""
    for _ in range(5 * WAIT_SECONDS_MAX):
        page = await text_of(url)
        if words in page:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(page)


async def text_of(url: str) -> str:
    """Return the text of a page."""
    async with aiohttp.ClientSession(trust_env=False) as session, session.get(url) as answer:
        return await answer.text()


@contextlib.asynccontextmanager
async def forwarded(release: Release, service: str) -> AsyncIterator[str]:
    """A Service at a forwarded port: nothing here serves the addresses of Services."""
    (port,) = free_ports(1)
    forwarding = await asyncio.create_subprocess_exec(
        release.cluster.kubectl_program, "port-forward", f"service/{service}",
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
