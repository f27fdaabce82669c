"""Starts the parts of a Kubernetes node, in the order in which each needs the one before."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.cluster.node.certificates import NODE_NAME, PROXY_USER, Certificates
from tests.cluster.node.network import NODE_ADDRESS, POD_BRIDGE, POD_NETWORK
from tests.cluster.node.pause_image import REFERENCE, write_pause_image
from tests.cluster.node.sandbox import Sandbox

FIRST_POD_ADDRESS = "10.244.0.10"
SERVICE_NETWORK = "10.96.0.0/16"
ETCD = "http://127.0.0.1:2379"
CONTAINERD = "/run/containerd/containerd.sock"
IMAGES_OF_KUBERNETES = "k8s.io"
"""The namespace in containerd that the kubelet looks for images in."""
START_SECONDS_MAX = 120.0
LOOK_SECONDS = 0.2

POD_NETWORK_PLUGINS = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": POD_BRIDGE,
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": POD_NETWORK, "rangeStart": FIRST_POD_ADDRESS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}

CONTAINERD_CONFIG = """
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true  # a container of this machine may not lower it
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{runc}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
"""


class Tools:
    """The folder that tests/cluster/node/tools fills."""

    def __init__(self, folder: Path) -> None:
        self.kubernetes = folder / "bin" / "kubernetes"
        self.kubectl = folder / "bin" / "kubectl"
        self.helm = folder / "bin" / "helm"
        self.pause = folder / "bin" / "pause"
        self.etcd = folder / "usr" / "bin" / "etcd"
        self.containerd = folder / "usr" / "bin" / "containerd"
        self.ctr = folder / "usr" / "bin" / "ctr"
        self.runc = folder / "usr" / "sbin" / "runc"
        self.network_plugins = folder / "usr" / "lib" / "cni"

    def missing(self) -> list[str]:
        """Return the names of the programs that are not there yet."""
        return [path.name for path in vars(self).values() if not path.exists()]


class NodeError(Exception):
    """The node does not become ready; the message has the end of a log."""


class Node:
    """A control plane, a kubelet and a container runtime, in a sandbox."""

    def __init__(self, sandbox: Sandbox, tools: Tools) -> None:
        self._sandbox = sandbox
        self._tools = tools
        self._folder = sandbox.folder
        self._certificates = Certificates(self._folder / "certificates")
        self.kubeconfig = self._certificates.kubeconfig("admin")
        self.ca = self._certificates.ca

    def start(self, images: Iterable[Path]) -> None:
        """Start all parts, import the archives of images, and wait until the node is ready.

        Raises:
            NodeError: a part does not start.
        """
        self._start_control_plane()
        self._start_runtime(images)
        self._start_kubelet()

    @contextlib.contextmanager
    def addon(self, program: Path, *options: str, **environ: str) -> Iterator[None]:
        """Run a program that is no part of a node, with its folder first in its PATH."""
        variables = [f"{name}={value}" for name, value in environ.items()]
        command = ("env", *variables, str(program), *options)
        started = self._sandbox.start(program.name, *command, path=str(program.parent))
        try:
            yield
        finally:
            # What was started only enters the sandbox, and would leave the program behind.
            self._sandbox.run("pkill", "--exact", program.name)
            started.wait()

    def run(self, *command: str) -> str:
        """Run a command in the node's network and with its mounts, and return its output."""
        return self._sandbox.run(*command)

    def _start_control_plane(self) -> None:
        self._sandbox.start(
            "etcd", str(self._tools.etcd), "--data-dir=/var/lib/etcd", "--unsafe-no-fsync",
            f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
        )  # fmt: skip
        self._start_api_server()
        self._await("kube-apiserver", lambda: self._kubectl("get", "--raw", "/readyz"))
        for name, options in (
            (
                "kube-controller-manager",
                (
                    f"--service-account-private-key-file={self._certificates.tokens_key}",
                    f"--root-ca-file={self._certificates.ca}",
                    "--use-service-account-credentials",
                ),
            ),
            ("kube-scheduler", ()),
        ):
            config = self._certificates.kubeconfig(name)
            self._start_part(
                name, f"--kubeconfig={config}", f"--authentication-kubeconfig={config}",
                f"--authorization-kubeconfig={config}", "--leader-elect=false",
                "--bind-address=127.0.0.1", *options,
            )  # fmt: skip

    def _start_api_server(self) -> None:
        of = self._certificates
        self._start_part(
            "kube-apiserver", f"--etcd-servers={ETCD}", f"--advertise-address={NODE_ADDRESS}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}", f"--client-ca-file={of.ca}",
            f"--tls-cert-file={of.api_certificate}", f"--tls-private-key-file={of.api_key}",
            f"--kubelet-client-certificate={of.api_client_certificate}",
            f"--kubelet-client-key={of.api_client_key}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={of.tokens_key}",
            f"--service-account-signing-key-file={of.tokens_key}",
            f"--requestheader-client-ca-file={of.ca}",
            f"--requestheader-allowed-names={PROXY_USER}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={of.proxy_certificate}",
            f"--proxy-client-key-file={of.proxy_key}",
            "--enable-aggregator-routing",  # nothing here serves the addresses of Services
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
        )  # fmt: skip

    def _start_runtime(self, images: Iterable[Path]) -> None:
        plugins = self._folder / "cni"
        plugins.mkdir()
        (plugins / "10-pods.conflist").write_text(json.dumps(POD_NETWORK_PLUGINS))
        config = self._folder / "containerd.toml"
        config.write_text(
            CONTAINERD_CONFIG.format(
                pause=REFERENCE,
                runc=self._tools.runc,
                plugins=self._tools.network_plugins,
                folder=self._folder,
            )
        )
        programs = str(self._tools.containerd.parent)  # containerd starts a shim for each pod
        self._sandbox.start(
            "containerd", str(self._tools.containerd), f"--config={config}", path=programs
        )
        self._await("containerd", lambda: self._ctr("version"))
        pause = self._folder / "pause.tar"
        write_pause_image(self._tools.pause, pause)
        for image in (pause, *images):
            self._ctr("images", "import", str(image))

    def _start_kubelet(self) -> None:
        config = self._folder / "kubelet.json"
        config.write_text(json.dumps(self._kubelet_config()))
        self._start_part(
            "kubelet", f"--config={config}", f"--node-ip={NODE_ADDRESS}",
            f"--kubeconfig={self._certificates.kubeconfig('kubelet')}",
            f"--hostname-override={NODE_NAME}",
        )  # fmt: skip
        is_ready = ("wait", "--for=condition=Ready", f"node/{NODE_NAME}", "--timeout=5s")
        self._await("kubelet", lambda: self._kubectl(*is_ready))

    def _kubelet_config(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS,
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": str(self._certificates.ca)},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
            "failSwapOn": False,
            "resolvConf": "",
            "volumePluginDir": "/var/lib/volume-plugins",
            # This machine's disk may be nearly full; the tests need little of it.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"nodefs.available": "1Mi", "imagefs.available": "1Mi"},
        }

    def _start_part(self, name: str, *options: str) -> None:
        self._sandbox.start(name, str(self._tools.kubernetes), name, *options)

    def _kubectl(self, *words: str) -> None:
        command = [str(self._tools.kubectl), f"--kubeconfig={self.kubeconfig}", *words]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command

    def _ctr(self, *words: str) -> None:
        self._sandbox.run(str(self._tools.ctr), f"--namespace={IMAGES_OF_KUBERNETES}", *words)

    def _await(self, name: str, attempt: Callable[[], object]) -> None:
        """Try until the command succeeds that shows that a part is up."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                attempt()
            except subprocess.CalledProcessError as error:
                if time.monotonic() > deadline:
                    log = (self._folder / "logs" / f"{name}.log").read_text(errors="replace")
                    raise NodeError(
                        f"{name} does not start: {error.stderr}\n{log[-3000:]}"
                    ) from error
                time.sleep(LOOK_SECONDS)
            else:
                return
