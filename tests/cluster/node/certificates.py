"""The certificates of a cluster, and the kubeconfigs of those who talk to its API."""

import base64
import json
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.cluster.node.network import NODE_ADDRESS

NODE_NAME = "node-1"
API = "https://127.0.0.1:6443"
SERVICE_ADDRESS = "10.96.0.1"
"""The first address of the services' network, which the API server takes for itself."""

PROXY_USER = "front-proxy-client"
"""As whom the API server passes requests on to servers of further APIs."""

USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", None),
    "kube-scheduler": ("system:kube-scheduler", None),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
}
"""Kubeconfig → user and group, as Kubernetes knows them."""


class Certificates:
    """A folder with the certificates and keys of the cluster's parts."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.crt"
        self._authority.cert_pem.write_to_path(self.ca)
        names = ("127.0.0.1", NODE_ADDRESS, SERVICE_ADDRESS, "localhost", "kubernetes.default.svc")
        self.api_certificate, self.api_key = self._write("api", self._authority.issue_cert(*names))
        self.api_client_certificate, self.api_client_key = self._write(
            "api-client", self._client("apiserver", "system:masters")
        )
        self.proxy_certificate, self.proxy_key = self._write(
            "proxy", self._client(PROXY_USER, None)
        )
        self.tokens_key = folder / "tokens.key"
        self.tokens_key.write_bytes(
            generate_private_key(SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            )
        )

    def kubeconfig(self, name: str) -> Path:
        """Return the kubeconfig of one of `USERS`; it is written where it does not exist yet."""
        path = self._folder / f"{name}.kubeconfig"
        if path.exists():
            return path
        leaf = self._client(*USERS[name])
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        key = leaf.private_key_pem.bytes()
        user = {"client-certificate-data": _base64(chain), "client-key-data": _base64(key)}
        cluster = {"server": API, "certificate-authority-data": _base64(self.ca.read_bytes())}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "it", "user": user}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "current-context": "it",
        }
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        return path

    def _client(self, user: str, group: str | None) -> trustme.LeafCert:
        name = "client.example"  # Go refuses a certificate whose list of names is empty
        return self._authority.issue_cert(name, common_name=user, organization_name=group)

    def _write(self, name: str, leaf: trustme.LeafCert) -> tuple[Path, Path]:
        certificate, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(key)
        return certificate, key


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
