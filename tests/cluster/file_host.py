"""A host of files in a pod, as restricted as the pods of the chart."""

import json
from typing import Any

from tests.cluster.commands import WAIT_SECONDS_MAX, Cluster, Release

FILE_HOST_PORT = 8000
NAME = "files"


async def start_file_host(release: Release, **files: str) -> str:
    """Serve files of these names and contents beside a release, and return the pod's address."""
    contents = (f"--from-literal={name}={content}" for name, content in files.items())
    await release.kubectl("create", "configmap", NAME, *contents)
    manifest = json.dumps(_pod(release.cluster))
    await release.cluster.kubectl(
        "apply", f"--namespace={release.namespace}", "--filename=-", given=manifest
    )
    await release.kubectl(
        "wait", "--for=condition=Ready", f"pod/{NAME}", f"--timeout={WAIT_SECONDS_MAX}s"
    )
    return await release.kubectl("get", "pod", NAME, "--output=jsonpath={.status.podIP}")


def _pod(cluster: Cluster) -> dict[str, Any]:
    """Return a pod that serves the ConfigMap of the same name, with the Python of our image."""
    image = cluster.image
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/name": NAME}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": NAME,
                    "image": f"{image['repository']}:{image['tag']}",
                    "imagePullPolicy": image["pullPolicy"],
                    "command": ["python", "-m", "http.server", "--directory=/files"],
                    "args": [str(FILE_HOST_PORT)],
                    "readinessProbe": {"tcpSocket": {"port": FILE_HOST_PORT}, "periodSeconds": 1},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": NAME, "mountPath": "/files"}],
                }
            ],
            "volumes": [{"name": NAME, "configMap": {"name": NAME}}],
        },
    }
