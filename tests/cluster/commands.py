"""Runs kubectl and Helm against the cluster under test, beside the traffic of a test."""

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
ADDONS = ROOT / ".cache" / "cluster-addons"
"""The folder that tests/cluster/node/addons fills."""
CHART = ROOT / "deploy" / "helm" / "asset-sync"
RELEASE = "it"
WAIT_SECONDS_MAX = 180


class CommandError(Exception):
    """A command failed; the message is all that it said."""


class Said(NamedTuple):
    """What a command that succeeded wrote."""

    out: str
    warnings: str


async def run(*command: str, environ: Mapping[str, str], given: str = "") -> Said:
    """Run a command to its end, and return what it wrote.

    Raises:
        CommandError: it failed.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environ,
    )
    out, err = (part.decode() for part in await process.communicate(given.encode()))
    if process.returncode:
        raise CommandError(f"{' '.join(command)}\n{out}{err}")
    return Said(out, err)


@dataclass(frozen=True)
class Cluster:
    """A cluster, its two neighbours, and the commands that talk to it."""

    environ: Mapping[str, str]
    """KUBECONFIG, and folders for what kubectl and Helm remember."""
    kubectl_program: str
    bootstrap: str
    """HOST:PORT of the broker, for tests and for pods."""
    pim_url: str
    """The simulator's address, for tests and for pods."""
    image: Mapping[str, str]
    """The chart's value `image`."""

    async def kubectl(self, *words: str, given: str = "") -> str:
        return (await self.say(*words, given=given)).out

    async def say(self, *words: str, given: str = "") -> Said:
        """Run kubectl and return its warnings too."""
        return await run(self.kubectl_program, *words, environ=self.environ, given=given)

    async def get(self, *words: str) -> dict[str, Any]:
        """Return what `kubectl get` prints as JSON."""
        found: dict[str, Any] = json.loads(await self.kubectl("get", *words, "--output=json"))
        return found


@dataclass(frozen=True)
class Helm:
    """One of the two major versions of Helm that users have."""

    program: str
    major: int

    @property
    def rollback_option(self) -> str:
        """Return the option that undoes an upgrade which does not become ready."""
        return "--atomic" if self.major == 3 else "--rollback-on-failure"


@dataclass
class Release:
    """A release of the chart in a namespace of its own."""

    cluster: Cluster
    helm: Helm
    namespace: str
    folder: Path
    """Where its files of values are."""
    values: Mapping[str, Any]

    async def run_helm(self, *words: str) -> str:
        return (await self.say(*words)).out

    async def say(self, *words: str) -> Said:
        """Run Helm and return its warnings too."""
        command = (self.helm.program, *words, f"--namespace={self.namespace}")
        return await run(*command, environ=self.cluster.environ)

    async def apply(self, *options: str, **values: object) -> str:
        """Install or upgrade with more values; without options, wait until all pods are ready."""
        files = [self._written("values", self.values), self._written("more", values)]
        return await self.run_helm(
            "upgrade", "--install", RELEASE, str(CHART), *(f"--values={path}" for path in files),
            *(options or ("--wait", f"--timeout={WAIT_SECONDS_MAX}s")),
        )  # fmt: skip

    async def uninstall(self) -> None:
        await self.run_helm("uninstall", RELEASE, "--wait")

    async def kubectl(self, *words: str) -> str:
        return await self.cluster.kubectl(f"--namespace={self.namespace}", *words)

    async def pods(self, component: str = "service") -> dict[str, dict[str, Any]]:
        """Return the pods of a program that nobody has told to end, by their names."""
        selector = f"--selector=app.kubernetes.io/component={component}"
        found = await self.cluster.get("pods", f"--namespace={self.namespace}", selector)
        return {
            pod["metadata"]["name"]: pod
            for pod in found["items"]
            if "deletionTimestamp" not in pod["metadata"]
        }

    async def until_ready(self, count: int, component: str = "service") -> set[str]:
        """Return the names of the pods once there are exactly this many, and all are ready."""
        for _ in range(5 * WAIT_SECONDS_MAX):
            pods = await self.pods(component)
            if len(pods) == count and all(is_ready(pod) for pod in pods.values()):
                return set(pods)
            await asyncio.sleep(0.2)
        raise AssertionError(json.dumps([pod["status"] for pod in pods.values()], indent=1))

    async def until_unready(self) -> None:
        """Wait until no pod of the service is ready."""
        for _ in range(5 * WAIT_SECONDS_MAX):
            if not any(is_ready(pod) for pod in (await self.pods()).values()):
                return
            await asyncio.sleep(0.2)
        raise AssertionError("The pods stay ready.")

    def _written(self, name: str, values: Mapping[str, object]) -> Path:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(values))
        return path


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether Kubernetes takes this pod for ready."""
    conditions: Iterable[Mapping[str, str]] = pod["status"].get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def restarts(pod: Mapping[str, Any]) -> int:
    """Return how often the containers of a pod were started again."""
    return sum(one["restartCount"] for one in pod["status"].get("containerStatuses", ()))
