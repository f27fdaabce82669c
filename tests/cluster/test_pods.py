"""How pods start, end and are moved by the kubelet and by those who drain a node."""

import asyncio
import json

import pytest

from service.playground.embedded_kafka import EmbeddedKafka
from service.playground.local_system import LocalSystem
from tests.cluster.commands import Release, restarts
from tests.cluster.node.certificates import NODE_NAME
from tests.cluster.traffic import assert_each_has_one_outcome, traffic

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

GRACE_SECONDS = 90
QUICK_PROBES = {"readinessProbe": {"periodSeconds": 2, "failureThreshold": 1}}
STATUS_OF_PROCESS = """
import pathlib
lines = pathlib.Path("/proc/1/status").read_text().splitlines()
status = dict(line.split(":\\t", 1) for line in lines)
secrets = pathlib.Path("/run/secrets/asset-sync")
print(status["Seccomp"], status["NoNewPrivs"], int(status["CapEff"], 16), status["Uid"].split()[0])
print(all(oct(one.stat().st_mode)[-3:] == "440" for one in secrets.iterdir() if one.is_file()))
try:
    pathlib.Path("/etc/written").touch()
except OSError as error:
    print(error.strerror)
"""


async def test_a_pod_that_is_stopped_in_its_first_second_ends_at_once(release4: Release) -> None:
    """The kernel drops a SIGTERM to process 1 without a handler: it would be killed much later."""
    await release4.apply("--timeout=60s", replicaCount=1)
    name = await until_running(release4)
    began = asyncio.get_running_loop().time()
    await release4.kubectl("delete", "pod", name, f"--grace-period={GRACE_SECONDS}")
    assert asyncio.get_running_loop().time() - began < GRACE_SECONDS / 3


async def until_running(release: Release) -> str:
    """Return the name of the pod as soon as its container runs."""
    for _ in range(600):
        for name, pod in (await release.pods()).items():
            for container in pod["status"].get("containerStatuses", ()):
                if "running" in container["state"]:
                    return name
        await asyncio.sleep(0.05)
    raise AssertionError(json.dumps(await release.pods(), indent=1))


async def test_a_pod_is_as_restricted_as_it_says(release4: Release) -> None:
    await release4.apply()
    command = ("python", "-c", STATUS_OF_PROCESS)
    said = await release4.kubectl("exec", "deploy/it-asset-sync", "--", *command)
    assert said.splitlines() == ["2 1 0 65532", "True", "Read-only file system"]


async def test_a_broker_outage_restarts_nothing_and_holds_up_no_drain(
    release4: Release, system: LocalSystem, own_broker: EmbeddedKafka | None
) -> None:
    """All replicas are unready then, and still a node can be drained."""
    if own_broker is None:
        pytest.skip("the broker of a given cluster is not stopped")
    await release4.apply(**QUICK_PROBES)
    before = await release4.until_ready(2)
    async with traffic(system):
        await asyncio.sleep(1)
    own_broker.kill()
    await release4.until_unready()
    own_broker.start()
    assert await release4.until_ready(2) == before
    assert [restarts(pod) for pod in (await release4.pods()).values()] == [0, 0]

    own_broker.kill()
    await release4.until_unready()
    drain = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s")
    await release4.cluster.kubectl("drain", NODE_NAME, *drain)
    own_broker.start()
    await release4.cluster.kubectl("uncordon", NODE_NAME)
    await release4.until_ready(2)
    await assert_each_has_one_outcome(system)


async def test_a_static_member_comes_back_without_a_rebalance(
    release4: Release, system: LocalSystem
) -> None:
    """Its name is as long as Kubernetes lets the name of a StatefulSet be."""
    name = "a-name-that-leaves-no-room-for-what-kubernetes-adds-to-it-at-all"
    await release4.apply(workload="StatefulSet", fullnameOverride=name[:63])
    stays, leaves = sorted(await release4.until_ready(2))
    async with traffic(system):
        before = await assignments(release4, stays)
        await release4.kubectl("delete", "pod", leaves)
        await release4.until_ready(2)
        assert await assignments(release4, stays) == before
    await assert_each_has_one_outcome(system)


async def assignments(release: Release, pod: str) -> int:
    """Return how often a replica was assigned partitions, by its log."""
    return (await release.kubectl("logs", pod)).count('"group.joined"')
