"""The chart's NetworkPolicies, enforced by kube-router: what may pass does, and nothing else."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest

from service.playground.local_system import LocalSystem
from tests.cluster.commands import ADDONS, Release
from tests.cluster.file_host import FILE_HOST_PORT, start_file_host
from tests.cluster.node.certificates import NODE_NAME
from tests.cluster.node.network import NODE_ADDRESS, POD_GATEWAY
from tests.cluster.node.node import SERVICE_NETWORK, Node
from tests.cluster.traffic import assert_each_has_one_outcome, traffic

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

KUBE_ROUTER = ADDONS / "bin" / "kube-router"
API_PORT, DNS_PORT, HTTP_PORT = 6443, 53, 8080
ONLY_FIREWALL = (
    "--run-firewall=true",
    "--run-router=false",
    "--run-service-proxy=false",
    f"--service-cluster-ip-range={SERVICE_NETWORK}",
    f"--hostname-override={NODE_NAME}",
)
CLEAR = "iptables --flush && iptables --delete-chain"
"""Lets everything pass again."""
TRY_SECONDS = 3
TRY_TO_CONNECT = """
import json, socket, sys

def connects(host, port):
    try:
        socket.create_connection((host, port), {seconds}).close()
    except OSError:
        return False
    return True

print(json.dumps([connects(*place) for place in json.loads(sys.argv[1])]))
"""
ASK_BY_UDP = """
import socket, sys
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.settimeout({seconds})
asking.sendto(b"?", (sys.argv[1], int(sys.argv[2])))
print(asking.recv(16).decode())
"""

Place = tuple[str, int]


@pytest.fixture
def _enforced(node: Node | None) -> Iterator[None]:
    """Let kube-router enforce what NetworkPolicies say, for one test."""
    if node is None:
        pytest.skip("whether a given cluster enforces NetworkPolicies is not known")
    if not KUBE_ROUTER.exists():
        pytest.skip("tests/cluster/node/addons did not run (make test-cluster ADDONS=1)")
    with node.addon(KUBE_ROUTER, f"--kubeconfig={node.kubeconfig}", *ONLY_FIREWALL):
        yield
    node.run("sh", "-c", CLEAR)


class EchoOverUdp(asyncio.DatagramProtocol):
    """Stands for a DNS server: answers each datagram with itself."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override] # asyncio's own type is wider
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Place) -> None:
        self._transport.sendto(data, addr)


@contextlib.asynccontextmanager
async def listening(*ports: int) -> AsyncIterator[None]:
    """Take TCP connections on these ports of the pods' gateway, and datagrams on that of DNS."""

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        for port in ports:
            server = await asyncio.start_server(close, POD_GATEWAY, port)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
        transport, _ = await loop.create_datagram_endpoint(
            EchoOverUdp, local_addr=(POD_GATEWAY, DNS_PORT)
        )
        stack.callback(transport.close)
        yield


def policies(system: LocalSystem) -> dict[str, object]:
    """Return values that let pods named `files` scrape, and Kafka and the PIM be called."""
    gateway = [{"ipBlock": {"cidr": f"{POD_GATEWAY}/32"}}]
    return {
        "enabled": True,
        "ingressFrom": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "files"}}}],
        "kafka": {"ports": [port_of(system.bootstrap)], "to": gateway},
        "pim": {"ports": [port_of(system.pim_url)], "to": gateway},
    }


def port_of(address: str) -> int:
    """Return the port of HOST:PORT or of a URL."""
    port = urlsplit(address if "//" in address else f"//{address}").port
    assert port is not None
    return port


async def reach(release: Release, pod: str, *places: Place) -> list[bool]:
    """Return to which of these places a pod can connect."""
    code = TRY_TO_CONNECT.format(seconds=TRY_SECONDS)
    said = await release.kubectl("exec", pod, "--", "python", "-c", code, json.dumps(places))
    found: list[bool] = json.loads(said)
    return found


@pytest.mark.usefixtures("_enforced")
async def test_only_what_the_policies_allow_passes(release4: Release, system: LocalSystem) -> None:
    """Probes pass too, or the pods would not be ready."""
    other_port = port_of(system.pim_url) + 1
    files = await start_file_host(release4, **{"a.txt": "a"})
    await release4.apply(networkPolicy=policies(system))
    (name, pod), *_ = (await release4.pods()).items()
    address = pod["status"]["podIP"]
    async with traffic(system), listening(DNS_PORT, other_port):
        allowed = [
            (POD_GATEWAY, DNS_PORT),
            (POD_GATEWAY, port_of(system.bootstrap)),
            (POD_GATEWAY, port_of(system.pim_url)),
        ]
        refused = [
            (POD_GATEWAY, other_port), (NODE_ADDRESS, API_PORT), (files, FILE_HOST_PORT),
        ]  # fmt: skip
        assert await reach(release4, "files", *allowed, *refused[:2]) == [True] * 5, "unrestricted"
        assert await reach(release4, name, *allowed) == [True] * 3
        assert await reach(release4, name, *refused) == [False] * 3
        asked = ASK_BY_UDP.format(seconds=TRY_SECONDS)
        command = ("python", "-c", asked, POD_GATEWAY, str(DNS_PORT))
        assert await release4.kubectl("exec", name, "--", *command) == "?\n"

        assert await reach(release4, "files", (address, HTTP_PORT)) == [True]
        await release4.kubectl("label", "pod", "files", "app.kubernetes.io/name=x", "--overwrite")
        await until_refused(release4, "files", (address, HTTP_PORT))
    await assert_each_has_one_outcome(system)


async def until_refused(release: Release, pod: str, place: Place) -> None:
    """Wait until the firewall knows that a pod may not connect any more."""
    for _ in range(60):
        if await reach(release, pod, place) == [False]:
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"{pod} still reaches {place}.")
