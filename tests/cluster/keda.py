"""KEDA beside the node: its operator, and the server of the metrics that autoscalers ask for."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import trustme

from tests.cluster.commands import ADDONS, Cluster
from tests.cluster.node.network import NODE_ADDRESS
from tests.cluster.node.node import Node

OPERATOR, ADAPTER = ADDONS / "bin" / "keda-operator", ADDONS / "bin" / "keda-adapter"
DEFINITIONS = ADDONS / "keda-crds"
NAMESPACE, SERVICE = "keda", "keda-metrics-apiserver"
API = "v1beta1.external.metrics.k8s.io"
METRICS_PORT, OWN_METRICS_PORT, PROBES_PORT, ADAPTER_PORT = 9666, 9090, 9091, 9092
API_PORT = 6444

SERVER_OF_METRICS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": API_PORT}]},
    },
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": SERVICE},
        },
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": API_PORT}],
        "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
    },
    {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": API},
        "spec": {
            "service": {"name": SERVICE, "namespace": NAMESPACE, "port": 443},
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
        },
    },
]


@contextlib.asynccontextmanager
async def running_keda(cluster: Cluster, node: Node, folder: Path) -> AsyncIterator[None]:
    """Run KEDA until the context ends; its definitions replace the chart's own for tests."""
    write_certificates(folder)
    await cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", f"--filename={DEFINITIONS}"
    )
    objects = json.dumps({"apiVersion": "v1", "kind": "List", "items": SERVER_OF_METRICS})
    await cluster.kubectl("apply", "--filename=-", given=objects)
    environ = {
        "KUBECONFIG": str(node.kubeconfig),
        "WATCH_NAMESPACE": "",
        "POD_NAMESPACE": NAMESPACE,
        "POD_NAME": NAMESPACE,
        "OPERATOR_NAME": NAMESPACE,
        "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,
    }
    with (
        node.addon(OPERATOR, *operator_options(folder), **environ),
        node.addon(ADAPTER, *adapter_options(folder, node), **environ),
    ):
        await cluster.kubectl(
            "wait", "--for=condition=Available", f"apiservice/{API}", "--timeout=120s"
        )
        yield
    await cluster.kubectl("delete", "apiservice", API)


def operator_options(certificates: Path) -> list[str]:
    """Return the options of the operator, which serves lags to the adapter."""
    return [
        f"--cert-dir={certificates}",
        f"--metrics-bind-address=127.0.0.1:{OWN_METRICS_PORT}",
        f"--health-probe-bind-address=127.0.0.1:{PROBES_PORT}",
        f"--metrics-service-bind-address=127.0.0.1:{METRICS_PORT}",
        "--enable-cert-rotation=false",
        "--enable-webhook-patching=false",
    ]


def adapter_options(certificates: Path, node: Node) -> list[str]:
    """Return the options of the adapter, which the API server asks for the lags."""
    return [
        f"--cert-dir={certificates}",
        f"--port={ADAPTER_PORT}",
        f"--bind-address={NODE_ADDRESS}",
        f"--secure-port={API_PORT}",
        f"--tls-cert-file={certificates}/tls.crt",
        f"--tls-private-key-file={certificates}/tls.key",
        f"--lister-kubeconfig={node.kubeconfig}",
        f"--authentication-kubeconfig={node.kubeconfig}",
        f"--authorization-kubeconfig={node.kubeconfig}",
        f"--metrics-service-address=127.0.0.1:{METRICS_PORT}",
        f"--client-ca-file={node.ca}",
    ]


def write_certificates(folder: Path) -> None:
    """Write the certificate by which operator and adapter know each other."""
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", "localhost", "keda-operator.keda.svc")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    leaf.private_key_pem.write_to_path(folder / "tls.key")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    (folder / "tls.crt").write_bytes(chain)
