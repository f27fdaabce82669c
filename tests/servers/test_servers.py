"""The same demands on the client behind each server and proxy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from service.adapters.akeneo.api import HttpAssetApi
from service.core.effects import GetFamilies, UpsertAssets
from service.core.inputs import Answer, CallFault, CallReply, FaultKind
from service.core.model import Asset, UpsertAsset
from service.playground.pim.simulator import PimSimulator, serve
from service.settings import PimSettings
from tests.servers.programs import (
    KEEPALIVE_SECONDS,
    PASSWORD,
    USER,
    Proxy,
    Server,
    Site,
    apache,
    free_port,
    haproxy,
    nginx,
    running,
    squid,
    tinyproxy,
)
from tests.support.builders import nested
from tests.support.pim import credentials_of, simulator

pytestmark = pytest.mark.servers

each_server = pytest.mark.parametrize("server", [nginx, apache, haproxy])
each_proxy = pytest.mark.parametrize("proxy", [tinyproxy, squid])
each_scheme = pytest.mark.parametrize("scheme", ["http", "https"])
NO_CONNECTION = {"client_id": "x", "client_secret": "x", "username": "x", "password": "x"}


@dataclass(frozen=True)
class Front:
    """A server before the simulator, and whose certificate it has."""

    pim: PimSimulator
    site: Site
    ca_file: Path

    def url(self, scheme: str) -> str:
        """Its address."""
        port = self.site.secure if scheme == "https" else self.site.plain
        return f"{scheme}://localhost:{port}"

    def api(self, scheme: str, **settings: object) -> HttpAssetApi:
        """Our client of it."""
        given = {"base_url": self.url(scheme), "ca_file": self.ca_file, "timeout_seconds": 20}
        pim = PimSettings.model_validate({**given, **NO_CONNECTION, **settings})
        return HttpAssetApi(pim, lambda: credentials_of(self.pim))


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """A private one."""
    return trustme.CA()


@asynccontextmanager
async def front(
    server: Server, ca: trustme.CA, folder: Path, *, wants_certificate: bool = False
) -> AsyncIterator[Front]:
    """The server before a simulator of its own."""
    pim = simulator()
    runner, url = await serve(pim)
    ca_file = folder / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    upstream = int(url.rpartition(":")[2])
    client_ca = ca_file if wants_certificate else None
    site = Site(folder, upstream, free_port(), free_port(), client_ca)
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(site.certificate))
    async with running(server(site), site.plain, site.secure):
        yield Front(pim, site, ca_file)
    await runner.cleanup()


def write(data_bytes: int = 10) -> UpsertAssets:
    """An upsert of one asset of this size."""
    values = nested({("n", None, None): "x" * data_bytes})
    return UpsertAssets("packshots", (UpsertAsset(Asset("packshots", "a"), values, 0),))


async def send(api: HttpAssetApi, request: UpsertAssets | GetFamilies) -> Answer:
    """Send it, however many requests that takes."""

    async def permit() -> None: ...

    return await api.send(request, permit=permit, may_write=lambda: True)


def reply(answer: Answer) -> CallReply:
    """The answer; there must be one."""
    assert isinstance(answer, CallReply), answer
    return answer


def fault(answer: Answer) -> str:
    """The message of a connection's fault; there must be one."""
    assert isinstance(answer, CallFault), answer
    assert answer.kind is FaultKind.CONNECTION
    return answer.message


@each_server
@each_scheme
async def test_calls_at_once_and_one_after_another(
    server: Server, scheme: str, ca: trustme.CA, tmp_path: Path
) -> None:
    """Each arrives once and is answered; what a server packs unasked is read."""
    async with front(server, ca, tmp_path) as behind:
        api = behind.api(scheme)
        for _ in range(5):
            found = await asyncio.gather(*(send(api, write()) for _ in range(8)))
            assert {reply(answer).status for answer in found} == {200}
            assert {len(reply(answer).items or ()) for answer in found} == {1}
        assert reply(await send(api, GetFamilies())).families
        await api.close()
        assert behind.pim.writes == 40


@each_server
@each_scheme
async def test_a_body_of_4_mib(server: Server, scheme: str, ca: trustme.CA, tmp_path: Path) -> None:
    """413 each time, never a cut connection; what fits goes through meanwhile."""
    async with front(server, ca, tmp_path) as behind:
        api = behind.api(scheme)
        for _ in range(10):
            refused = reply(await send(api, write(4 * 1024 * 1024)))
            assert (refused.status, refused.own_json) == (413, False)
            assert reply(await send(api, write(900_000))).status == 200
        await api.close()
        assert behind.pim.writes == 10


@each_server
@each_scheme
async def test_a_connection_that_the_server_closed_while_it_rested(
    server: Server, scheme: str, ca: trustme.CA, tmp_path: Path
) -> None:
    """The next call takes another one."""
    async with front(server, ca, tmp_path) as behind:
        api = behind.api(scheme)
        for _ in range(3):
            assert reply(await send(api, write())).status == 200
            await asyncio.sleep(KEEPALIVE_SECONDS + 0.5)
        await api.close()
        assert behind.pim.writes == 3


@each_server
async def test_a_call_in_the_moment_of_closing(
    server: Server, ca: trustme.CA, tmp_path: Path
) -> None:
    """Answered or a fault, and never delivered twice."""
    async with front(server, ca, tmp_path) as behind:
        apis = [behind.api("http") for _ in range(40)]
        for api in apis:
            await send(api, GetFamilies())

        async def once(api: HttpAssetApi, after: float) -> Answer:
            await asyncio.sleep(after)
            return await send(api, write())

        found = await asyncio.gather(
            *(once(api, KEEPALIVE_SECONDS - 0.05 + n / 400) for n, api in enumerate(apis))
        )
        applied = [answer for answer in found if isinstance(answer, CallReply) and answer.items]
        for api in apis:
            await api.close()
        assert len(applied) <= behind.pim.writes <= len(found)


@each_server
async def test_a_client_certificate(server: Server, ca: trustme.CA, tmp_path: Path) -> None:
    """Shown where the server wants one; without it nothing reaches the PIM."""
    mine = ca.issue_cert("asset-sync.example")
    cert, key = tmp_path / "client.pem", tmp_path / "client.key"
    mine.private_key_pem.write_to_path(str(key))
    for number, part in enumerate(mine.cert_chain_pems):
        part.write_to_path(str(cert), append=number > 0)
    async with front(server, ca, tmp_path, wants_certificate=True) as behind:
        api = behind.api("https", ssl_cert_file=cert, ssl_key_file=key)
        assert reply(await send(api, write())).status == 200
        await api.close()
        stranger = behind.api("https")
        answer = await send(stranger, write())
        assert isinstance(answer, CallFault)
        await stranger.close()
        assert behind.pim.writes == 1


@each_server
async def test_a_certificate_of_somebody_else(
    server: Server, ca: trustme.CA, tmp_path: Path
) -> None:
    """Nothing is sent."""
    async with front(server, ca, tmp_path) as behind:
        api = behind.api("https", ca_file=None)
        assert "certificate verify failed" in fault(await send(api, write()))
        await api.close()
        assert behind.pim.tokens.given == 0


@each_proxy
@each_scheme
async def test_through_a_proxy(proxy: Proxy, scheme: str, ca: trustme.CA, tmp_path: Path) -> None:
    """Every call arrives, on connections that are kept or not; its password goes no further."""
    port = free_port()
    folder = tmp_path / "proxy"
    folder.mkdir()
    async with front(nginx, ca, tmp_path) as behind, running(proxy(folder, port), port):
        api = behind.api(scheme, proxy_url=f"http://{USER}:{PASSWORD}@127.0.0.1:{port}")
        for _ in range(10):
            found = await asyncio.gather(*(send(api, write()) for _ in range(2)))
            assert {reply(answer).status for answer in found} == {200}
        refused = reply(await send(api, write(4 * 1024 * 1024)))
        assert refused.status == 413
        await asyncio.sleep(KEEPALIVE_SECONDS + 0.5)
        assert reply(await send(api, write())).status == 200
        await api.close()
        assert behind.pim.writes == 21


@each_proxy
async def test_a_proxy_that_does_not_know_us(proxy: Proxy, ca: trustme.CA, tmp_path: Path) -> None:
    """Its refusal is a fault, in its words, without the password; nothing is kept open."""
    port = free_port()
    folder = tmp_path / "proxy"
    folder.mkdir()
    async with front(nginx, ca, tmp_path) as behind, running(proxy(folder, port), port):
        for user in ("", f"{USER}:wr0ng-s3cret@"):
            api = behind.api("https", proxy_url=f"http://{user}127.0.0.1:{port}")
            for _ in range(3):
                message = fault(await send(api, write()))
                assert message.startswith("The proxy refuses: 40")
                assert "s3cret" not in message
            await api.close()
        assert behind.pim.tokens.given == 0
