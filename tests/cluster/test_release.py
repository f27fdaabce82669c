"""What operators do with a release, under traffic: no change is lost, and none is repeated."""

import pytest

from service.playground.local_system import LocalSystem
from tests.cluster.commands import RELEASE, CommandError, Release, is_ready
from tests.cluster.traffic import assert_each_has_one_outcome, traffic

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

NOBODY_LISTENS = "127.0.0.1:1"


async def test_every_change_is_accounted_for_whatever_operators_do(
    release: Release, system: LocalSystem
) -> None:
    """Upgrade, rollback, scaling, a killed pod, uninstalling and installing again."""
    await release.apply()
    first = await release.until_ready(2)
    async with traffic(system):
        await release.apply(settings={"WINDOW__MAX_SECONDS": 1})
        second = await release.until_ready(2)
        assert not first & second, "a setting replaces every pod"

        await release.run_helm("rollback", RELEASE, "1", "--wait")
        assert not second & await release.until_ready(2)

        await release.apply(replicaCount=4)
        (one, *_) = await release.until_ready(4)
        await release.kubectl("delete", "pod", one, "--grace-period=0", "--force")
        await release.until_ready(4)

        await release.uninstall()
        assert await release.pods() == {}
        await release.apply()
        await release.until_ready(2)
    await assert_each_has_one_outcome(system)


async def test_an_upgrade_that_cannot_work_is_rolled_back(release: Release) -> None:
    """Helm notices it, and the pods that work stay."""
    await release.apply()
    before = await release.until_ready(2)
    with pytest.raises(CommandError, match=r"rolled back|rolling back|rollback"):
        await release.apply(
            release.helm.rollback_option, "--timeout=20s",
            settings={"KAFKA__BOOTSTRAP_SERVERS": NOBODY_LISTENS},
        )  # fmt: skip
    assert await release.until_ready(2) == before
    status = await release.run_helm("status", RELEASE)
    assert "STATUS: deployed" in status


async def test_a_first_install_that_cannot_work_fails(release: Release) -> None:
    """An image that no node has: `--wait` does not say that it is deployed."""
    with pytest.raises(CommandError, match=r"not ready|deadline|timed out|InProgress"):
        await release.apply("--wait", "--timeout=15s", image={"tag": "there-is-none"})
    assert not any(is_ready(pod) for pod in (await release.pods()).values())


async def test_an_autoscaler_keeps_the_replicas_that_run(release: Release) -> None:
    """No metrics come here, so it changes nothing by itself."""
    await release.apply(replicaCount=3)
    before = await release.until_ready(3)
    await release.apply(autoscaling={"hpa": {"enabled": True, "minReplicas": 2}})
    workload = await release.cluster.get("deployment", "it-asset-sync", f"-n={release.namespace}")
    assert workload["spec"]["replicas"] == 3
    assert await release.until_ready(3) == before


class TestHelmTest:
    """`helm test` runs the service's own check in a pod of the release."""

    async def test_it_succeeds_and_shows_its_log(self, release: Release) -> None:
        await release.apply()
        said = await release.run_helm("test", RELEASE, "--logs")
        assert "Phase:          Succeeded" in said
        assert "access granted" in said

    async def test_it_can_remove_its_pod(self, release: Release) -> None:
        """Helm writes the log by itself then, on standard error."""
        await release.apply(tests={"deleteAfterSuccess": True})
        said = await release.say("test", RELEASE)
        assert "access granted" in said.warnings
        assert await release.pods("test") == {}

    async def test_it_says_what_is_wrong(self, release: Release) -> None:
        await release.apply(settings={"KAFKA__OUTCOMES_TOPIC": "there.is.none"}, replicaCount=0)
        with pytest.raises(CommandError):
            await release.run_helm("test", RELEASE, "--timeout=60s")
        ((_, pod),) = (await release.pods("test")).items()
        (container,) = pod["status"]["containerStatuses"]
        assert "there.is.none" in container["state"]["terminated"]["message"]

    async def test_it_ends_where_its_secret_is_missing(self, release4: Release) -> None:
        """The kubelet looks at the deadline once it has waited two minutes for the Secret."""
        await release4.apply(
            secret={"existingSecret": "missing"}, replicaCount=0, tests={"activeDeadlineSeconds": 5}
        )
        with pytest.raises(CommandError):
            await release4.run_helm("test", RELEASE, "--timeout=280s")
        ((_, pod),) = (await release4.pods("test")).items()
        assert pod["status"]["reason"] == "DeadlineExceeded"
