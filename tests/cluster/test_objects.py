"""The API takes what the chart renders, with the definitions of the operators' resources."""

import json
from pathlib import Path

import pytest

from tests.cluster.commands import CHART, ROOT, Cluster, Helm, run

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

PRIORITY_CLASS = {
    "apiVersion": "scheduling.k8s.io/v1",
    "kind": "PriorityClass",
    "metadata": {"name": "high"},
    "value": 1,
}
DEFINITIONS = ROOT / "tests" / "chart" / "crds"


@pytest.fixture
async def operators(cluster: Cluster) -> None:
    """The custom resources of the operators that the chart knows, and what its values name."""
    words = ("apply", "--server-side", f"--filename={DEFINITIONS}")
    await cluster.kubectl(*words)
    await cluster.kubectl("apply", "--filename=-", given=json.dumps(PRIORITY_CLASS))
    await cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


@pytest.mark.usefixtures("operators")
@pytest.mark.parametrize("values", sorted(CHART.glob("ci/*-values.yaml")), ids=lambda one: one.stem)
async def test_the_api_takes_everything(
    cluster: Cluster, helm: Helm, namespace: str, values: Path
) -> None:
    """Strictly, and without a warning, in a namespace of restricted pods."""
    manifest = await run(
        helm.program, "template", "it", str(CHART), f"--namespace={namespace}",
        f"--values={values}", "--set=namespaceOverride=", "--validate",
        environ=cluster.environ,
    )  # fmt: skip
    account = ("create", "serviceaccount", "it-asset-sync", f"--namespace={namespace}")
    await cluster.kubectl(*account)  # the API looks for that of a pod also in a dry run
    said = await cluster.say(
        "apply", "--server-side", "--validate=strict", "--dry-run=server",
        f"--namespace={namespace}", "--filename=-", given=manifest.out,
    )  # fmt: skip
    assert said.warnings == ""
    assert said.out.count("serverside-applied") == manifest.out.count("\nkind: ")
