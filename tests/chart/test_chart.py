"""The chart, rendered: Helm's lint, unit tests, schemas, policies, alerts. No cluster is needed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from service import __version__
from service.contracts.asyncapi import Topics, asyncapi
from tests.support.strict_yaml import read_all
from tests.unit.adapters.test_telemetry import PLACE, scraped, status

pytestmark = pytest.mark.chart

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CHART = ROOT / "deploy" / "helm" / "asset-sync"
TOOLS = ROOT / ".cache" / "chart-tools"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
VERSIONS = ("1.25.0", "1.34.0", "1.37.0")
CRDS = {path.stem: path for path in (HERE / "crds").glob("*.yaml")}
"""The definitions of the custom resources by kind, as their operators publish them."""
NO_POLICY = {
    "container-ephemeral-storage-request-and-limit": "the limit would count the container's log",
    "container-image-pull-policy": "tags are fixed; pulling each time is one more way to fail",
    "deployment-has-host-podantiaffinity": "replicas spread by topologySpreadConstraints",
    "statefulset-has-host-podantiaffinity": "likewise",
}
"""Checks of kube-score that are left out, and why."""

NO_REPLICAS = re.compile(r".*-console/\S+ apps/v1/Deployment: .*(update strategy|few replicas)")
"""What kube-score says of the console, which is one pod on purpose: its index has one writer."""


def run(*command: str, given: str | None = None, **environ: str) -> str:
    """A tool's output; its complaint where it fails."""
    path = f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603 - the tools of these tests
        command,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=CHART,
        env=os.environ | {"PATH": path} | environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def render(values: Path, version: str = VERSIONS[1]) -> str:
    """The chart's manifests."""
    return run("helm", "template", "it", ".", "--values", str(values), "--kube-version", version)


def documents(values: Path) -> list[dict[str, Any]]:
    """The same, read; a key that stands twice is an error."""
    return [found for found in read_all(render(values)) if found]


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_lint(values: Path) -> None:
    """`helm lint --strict`, with each set of values."""
    run("helm", "lint", "--strict", ".", "--values", str(values), "--kube-version", VERSIONS[1])


def test_unit_tests() -> None:
    """helm-unittest."""
    assert "1 passed, 1 total" in run("helm-unittest", "--strict", ".")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_kubernetes_schemas(values: Path, version: str, tmp_path: Path) -> None:
    """Every object by the schema of its kind: Kubernetes' own, or that of the custom resource."""
    built_in = []
    for found in yaml.safe_load_all(render(values, version)):
        if found and found["kind"] in CRDS:
            jsonschema.validate(found, schema_of(found))
        elif found:
            built_in.append(found)
    manifests = tmp_path / "manifests.yaml"
    manifests.write_text(yaml.safe_dump_all(built_in))
    told = run(
        sys.executable, "-m", "kubernetes_validate", "--strict",
        "-k", version.removesuffix(".0"), str(manifests),
        PYTHONPATH=str(TOOLS / "python"),
    )  # fmt: skip
    assert "WARN" not in told, "a kind or a version that does not exist"
    assert len(built_in) >= 4


def schema_of(resource: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a custom resource, which refuses fields that it does not name."""
    definition = yaml.safe_load(CRDS[resource["kind"]].read_text())["spec"]
    (version,) = definition["versions"]
    assert resource["apiVersion"] == f"{definition['group']}/{version['name']}"
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return closed(schema | {"properties": schema["properties"] | {"metadata": {}}})


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of a custom resource that refuses the fields that Kubernetes would drop."""
    made = dict(schema)
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            made[keyword] = closed(schema[keyword])
    if "(?i)" in schema.get("pattern", ""):  # Go takes the flag anywhere, Python at the start
        made["pattern"] = "(?i)" + schema["pattern"].replace("(?i)", "")
    if "properties" in schema:
        made["properties"] = {name: closed(one) for name, one in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    return made


def test_the_schemas_would_notice(tmp_path: Path) -> None:
    """A wrong field fails."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nspec: {}\n")
    with pytest.raises(AssertionError):
        run(
            sys.executable, "-m", "kubernetes_validate", "--strict", "-k", "1.34", str(wrong),
            PYTHONPATH=str(TOOLS / "python"),
        )  # fmt: skip


@pytest.mark.parametrize("kind", CRDS)
def test_the_schemas_of_the_operators_would_notice(kind: str) -> None:
    """A field that is misspelt fails."""
    found = next(one for path in VALUES for one in documents(path) if one["kind"] == kind)
    with pytest.raises(jsonschema.ValidationError, match="intervall"):
        jsonschema.validate(found | {"spec": found["spec"] | {"intervall": 1}}, schema_of(found))


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_policies(values: Path) -> None:
    """kube-score finds nothing but what has its reason."""
    ignored = dict(NO_POLICY)
    if "NetworkPolicy" not in {found["kind"] for found in documents(values)}:
        ignored["pod-networkpolicy"] = "off unless it is wanted: clusters differ"
    told = run(
        "kube-score", "score", "-", "--output-format", "ci", "--kubernetes-version", "v1.34",
        "--ignore-container-cpu-limit",  # a limit throttles; the request is what is shared by
        *(f"--ignore-test={name}" for name in ignored),
        given=render(values),
    )  # fmt: skip
    bad = [
        line
        for line in told.splitlines()
        if not line.startswith(("[OK]", "[SKIPPED]")) and not NO_REPLICAS.match(line)
    ]
    assert bad == []


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_selector_selects_something(values: Path) -> None:
    """A monitor, a Service or a policy that finds nothing does nothing, and nobody is told."""
    found = documents(values)
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in found if is_workload(one)]
    services = [one["metadata"]["labels"] for one in found if one["kind"] == "Service"]
    names = {(one["kind"], one["metadata"]["name"]) for one in found if is_workload(one)}
    for one in found:
        spec = one.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if "scaleTargetRef" in spec:
            assert (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]) in names
        if selector is not None:
            wanted = selector.get("matchLabels", selector).items()
            targets = services if one["kind"] == "ServiceMonitor" else pods
            assert any(wanted <= labels.items() for labels in targets), one["metadata"]["name"]


def is_workload(resource: dict[str, Any]) -> bool:
    """Return whether a resource makes pods that stay."""
    return resource["kind"] in {"Deployment", "StatefulSet"}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_nothing_secret_stands_in_a_manifest(values: Path) -> None:
    """Secrets are named, never held."""
    for found in documents(values):
        assert found["kind"] != "Secret"
        assert not re.search(r"ASSET_SYNC_\w*(PASSWORD|SECRET|TOKEN)(?!S_DIR)", json.dumps(found))


def test_the_readme_is_what_helm_docs_writes(tmp_path: Path) -> None:
    """`make schemas` writes it anew."""
    written = run("helm-docs", "--dry-run", "--sort-values-order", "file", "-c", ".")
    assert (CHART / "README.md").read_text().strip() == written.strip(), tmp_path


def test_alerts() -> None:
    """promtool: rules, and whether each fires when it should."""
    run("promtool", "check", "rules", "files/alerts.yaml")
    run("promtool", "test", "rules", str(HERE / "alerts_test.yaml"))


def test_metrics_are_named_as_prometheus_wants_them() -> None:
    """`promtool check metrics`, of one of each."""
    run("promtool", "check", "metrics", given=ours(scraped(status(), {PLACE: 0})))


def ours(text: str) -> str:
    """Without the process's own, whose names are Python's affair."""
    return "".join(
        line + "\n" for line in text.splitlines() if re.match(r"(# \w+ )?asset_sync_", line)
    )


def test_the_asyncapi_document_is_one() -> None:
    """By AsyncAPI's own schema."""
    schema = json.loads((TOOLS / "asyncapi" / "3.0.0.json").read_text())
    jsonschema.validate(asyncapi(__version__, Topics()), schema)
