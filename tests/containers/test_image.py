"""The image runs the main job; it was built by `make test-containers`."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support.proof import assert_exactly_once, events
from tests.support.service import SystemUnderTest, system_around

pytestmark = [pytest.mark.containers, pytest.mark.kafka]

IMAGE = "asset-sync:test"
DOCKER = os.environ.get("DOCKER", "docker")


@pytest.fixture
async def system(bootstrap: str, tmp_path: Path) -> AsyncIterator[SystemUnderTest]:
    """Topics and a PIM; replicas are containers."""
    pim = PimSimulator(free("packshots", "manuals"))
    async with system_around(bootstrap, tmp_path, pim) as made:
        yield made


async def test_the_image_does_the_main_job(system: SystemUnderTest) -> None:
    """Read-only root, no capability: every change has one outcome; SIGTERM drains, exit 0."""
    records = events(600, 40, system.partitions)
    await system.publish(records)
    replica = system.start_container(DOCKER, IMAGE)

    await assert_exactly_once(system, len(records))
    replica.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(replica.wait, 30)

    assert code == 0, system.logs()[-3000:]


def test_the_image_runs_as_nobody() -> None:
    """By number, so that Kubernetes can tell that it is not root."""
    command = [DOCKER, "run", "--rm", "--network=none", "--read-only", "--entrypoint=id", IMAGE]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603

    assert said.startswith("uid=65532 gid=65532")
