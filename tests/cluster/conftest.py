"""The cluster of a test run: a node that is started here, or one that is given."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from service.playground.embedded_kafka import EmbeddedKafka, free_ports, started
from service.playground.local_system import LocalSystem
from service.playground.pim.tokens import Tokens
from tests.cluster.backends import ReachableKafka
from tests.cluster.commands import ROOT, Cluster, Helm, Release, run
from tests.cluster.node.machine import GROUPS, NAME_OF_GROUPS, Machine, restore, state_of_machine
from tests.cluster.node.network import POD_GATEWAY, own_network
from tests.cluster.node.node import Node, Tools
from tests.cluster.node.sandbox import Sandbox

TOOLS = Tools(ROOT / ".cache" / "cluster-tools")
HELM_3 = ROOT / ".cache" / "chart-tools" / "bin" / "helm"
IMAGE_ARCHIVE = ROOT / ".cache" / "asset-sync-image.tar"
"""`make test-containers` builds the image; .ci/containers writes this file."""
IMAGE_IN_ARCHIVE = "asset-sync:test"
SECRET = "asset-sync-pim"
PARTITIONS = 6

OPTIONS = {
    "--kubeconfig": "use this cluster instead of starting a node",
    "--cluster-broker": "HOST:PORT of its broker, which the tests and its pods reach",
    "--cluster-pim": "URL of its `asset-sync pim-simulator`, which the tests and its pods reach",
    "--cluster-image": "REPOSITORY:TAG of the image, which its nodes have or can pull",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer a cluster of one's own: each option has a variable, such as TEST_CLUSTER_BROKER."""
    group = parser.getgroup("cluster")
    for name, text in OPTIONS.items():
        variable = "TEST_" + name.removeprefix("--").replace("-", "_").upper()
        group.addoption(name, default=os.environ.get(variable), help=f"{text} ({variable})")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the node, of Kafka, and of what kubectl and Helm remember."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="session")
def given(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The options of a cluster that runs already; empty for one that is started here."""
    found = {name: request.config.getoption(name, None) for name in OPTIONS}
    if not found["--kubeconfig"]:
        return {}
    missing = [name for name, value in found.items() if not value]
    if missing:
        pytest.fail(f"--kubeconfig needs {', '.join(missing)} too.")
    return found


@pytest.fixture(scope="session")
def own_broker(given: Mapping[str, str], workspace: Path) -> Iterator[EmbeddedKafka | None]:
    """A network for everything, and Kafka in it; None if a cluster is given."""
    if given:
        yield None
        return
    skip_where_no_node_runs()
    before = state_of_machine(workspace)
    with ExitStack() as stack:
        stack.callback(lambda: assert_unchanged(before, workspace))
        stack.callback(restore, before)
        stack.enter_context(own_network())
        yield stack.enter_context(started(partial(ReachableKafka, address=POD_GATEWAY)))


@pytest.fixture(scope="session")
def node(own_broker: EmbeddedKafka | None, workspace: Path) -> Iterator[Node | None]:
    """The node that is started here; None if a cluster is given."""
    if own_broker is None:
        yield None
        return
    with running_node(workspace / "node") as started_here:
        yield started_here


@pytest.fixture(scope="session")
def cluster(
    given: Mapping[str, str],
    own_broker: EmbeddedKafka | None,
    node: Node | None,
    workspace: Path,
) -> Iterator[Cluster]:
    """The cluster under test, with Kafka and a PIM that its pods reach."""
    environ = {
        "KUBECACHEDIR": str(workspace / "kubectl"),
        **{f"HELM_{kind}_HOME": str(workspace / "helm") for kind in ("CACHE", "CONFIG", "DATA")},
    }
    if own_broker is None or node is None:
        yield Cluster(
            environ | {"KUBECONFIG": given["--kubeconfig"]},
            "kubectl",
            given["--cluster-broker"],
            given["--cluster-pim"],
            image_values(given["--cluster-image"], "IfNotPresent"),
        )
        return
    with running_pim() as pim_url:
        yield Cluster(
            environ | {"KUBECONFIG": str(node.kubeconfig)},
            str(TOOLS.kubectl),
            own_broker.bootstrap_servers,
            pim_url,
            image_values(IMAGE_IN_ARCHIVE, "Never"),
        )


@contextmanager
def running_node(folder: Path) -> Iterator[Node]:
    """A node that has the image under test; all that runs in it ends with the context."""
    with Sandbox(folder) as sandbox:
        node = Node(sandbox, TOOLS)
        node.start([IMAGE_ARCHIVE])
        yield node


@contextmanager
def running_pim() -> Iterator[str]:
    """A PIM that pods reach, in a process of its own: tests here wait for commands."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.cluster.backends", POD_GATEWAY, str(port)]
    with subprocess.Popen(command, cwd=ROOT) as process:  # noqa: S603 - our own command
        try:
            yield f"http://{POD_GATEWAY}:{port}"
        finally:
            process.terminate()


def skip_where_no_node_runs() -> None:
    """Skip the test where a node cannot run on this machine, and say what to do about it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a node of Kubernetes needs Linux and root; or give a cluster (--kubeconfig)")
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("a machine can be one node only: run these tests without -n")
    programs = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if programs:
        pytest.skip(f"a node needs util-linux and iproute2: {', '.join(programs)} is not on PATH")
    if any(GROUPS.glob(NAME_OF_GROUPS)) or any(GROUPS.glob(f"*/{NAME_OF_GROUPS}")):
        pytest.skip("this machine is a node of another cluster: give that one (--kubeconfig)")
    if TOOLS.missing():
        pytest.skip(f"tests/cluster/node/tools did not run: {', '.join(TOOLS.missing())}")
    if not IMAGE_ARCHIVE.exists():
        pytest.skip(f"{IMAGE_ARCHIVE} is missing: docker save --output FILE {IMAGE_IN_ARCHIVE}")


def assert_unchanged(before: Machine, workspace: Path) -> None:
    """Check that the node left nothing behind on this machine."""
    after = state_of_machine(workspace)
    assert after._asdict() == before._asdict()


def image_values(reference: str, pull_policy: str) -> dict[str, str]:
    """Return the chart's value `image` for a reference."""
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag, "pullPolicy": pull_policy}


@pytest.fixture(params=[3, 4], ids=["helm3", "helm4"])
async def helm(request: pytest.FixtureRequest, given: Mapping[str, str]) -> Helm:
    """Helm, as far as it is there: version 4 of the node's tools, version 3 of the chart's."""
    wanted = request.param
    own = {3: HELM_3, 4: TOOLS.helm}[wanted]
    program = str(own) if own.exists() and not given else shutil.which("helm")
    if program is None:
        pytest.skip(f"Helm {wanted} is not there (tests/chart/tools, tests/cluster/node/tools)")
    version = (await run(program, "version", "--template={{.Version}}", environ={})).out
    if not version.startswith(f"v{wanted}."):
        pytest.skip(f"{program} is Helm {version}, not {wanted}")
    return Helm(program, wanted)


@pytest.fixture
async def helm4(given: Mapping[str, str]) -> Helm:
    """Helm 4, where a test needs only one of the two."""
    return Helm(str(TOOLS.helm) if not given else "helm", 4)


@pytest.fixture
async def namespace(cluster: Cluster) -> AsyncIterator[str]:
    """A namespace that takes only restricted pods, with the credentials of the PIM."""
    name = f"asset-sync-{uuid.uuid4().hex[:8]}"
    policy = "pod-security.kubernetes.io"
    await cluster.kubectl("create", "namespace", name)
    await cluster.kubectl(
        "label", "namespace", name, f"{policy}/enforce=restricted", f"{policy}/warn=restricted"
    )
    tokens = Tokens()
    await cluster.kubectl(
        "create", "secret", "generic", SECRET, f"--namespace={name}",
        f"--from-literal=pim__client_id={tokens.client_id}",
        f"--from-literal=pim__client_secret={tokens.client_secret}",
        f"--from-literal=pim__username={tokens.username}",
        f"--from-literal=pim__password={tokens.password}",
    )  # fmt: skip
    yield name
    await cluster.kubectl("delete", "namespace", name, "--timeout=120s")


@pytest.fixture
async def system(cluster: Cluster, tmp_path: Path) -> AsyncIterator[LocalSystem]:
    """Topics of a test's own on the cluster's broker."""
    async with LocalSystem(
        cluster.bootstrap, cluster.pim_url, Tokens(), tmp_path, partitions=PARTITIONS
    ) as made:
        yield made


def chart_values(cluster: Cluster, system: LocalSystem) -> dict[str, Any]:
    """Return the values of a release that serves the topics of this system."""
    settings = {
        name: value
        for name, value in system.settings().items()
        if name.startswith("KAFKA__") or name == "PIM__BASE_URL"
    }
    return {
        "image": dict(cluster.image),
        "secret": {"existingSecret": SECRET},
        "settings": settings
        | {
            "PIM__ALLOW_HTTP": True,
            "KAFKA__SESSION_TIMEOUT_SECONDS": 10,
            "WINDOW__MAX_SECONDS": 0.5,
        },
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }


@pytest.fixture
def release(
    cluster: Cluster, helm: Helm, namespace: str, system: LocalSystem, tmp_path: Path
) -> Release:
    """A release that is not installed yet, once with each version of Helm."""
    return Release(cluster, helm, namespace, tmp_path, chart_values(cluster, system))


@pytest.fixture
def release4(
    cluster: Cluster, helm4: Helm, namespace: str, system: LocalSystem, tmp_path: Path
) -> Release:
    """The same with Helm 4 alone."""
    return Release(cluster, helm4, namespace, tmp_path, chart_values(cluster, system))
