"""The same requirements for the client behind each server and proxy."""

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from service.adapters.akeneo.api import HttpAssetApi, Uploads
from service.adapters.akeneo.client import PimClient
from service.adapters.akeneo.wire import HttpRequest
from service.adapters.http_client import RawReply
from service.adapters.media.folder import MediaFolder
from service.core.inputs import Answer, CallFault, CallReply, FaultKind
from service.core.model import Asset, UpsertAsset
from service.core.requests import GetFamilies, UploadFile, UpsertAssets
from service.playground.pim.server import serve
from service.playground.pim.simulator import PimSimulator
from service.settings import PimSettings
from tests.servers.programs import (
    ANY_CIPHER,
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
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)
NO_CONNECTION = {"client_id": "x", "client_secret": "x", "username": "x", "password": "x"}


@dataclass(frozen=True)
class Front:
    """A server in front of the simulator, and its certificate."""

    pim: PimSimulator
    site: Site
    ca_file: Path
    clients: list[HttpAssetApi] = field(default_factory=list)
    """Whatever a test made; closed with the server, also where the test fails."""

    def url(self, scheme: str) -> str:
        """The server's URL."""
        port = self.site.secure if scheme == "https" else self.site.plain
        return f"{scheme}://localhost:{port}"

    def api(self, scheme: str, uploads: Uploads | None = None, **settings: object) -> HttpAssetApi:
        """Return a client of the server."""
        given = {"base_url": self.url(scheme), "ca_file": self.ca_file, "timeout_seconds": 20}
        pim = PimSettings.model_validate({**given, **NO_CONNECTION, **settings})
        client = HttpAssetApi(pim, lambda: credentials_of(self.pim), uploads=uploads)
        self.clients.append(client)
        return client


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Return a private CA."""
    return trustme.CA()


def issued(
    ca: trustme.CA, name: str, not_before: datetime | None = None, not_after: datetime | None = None
) -> bytes:
    """Return the key and the chain of a server with this name."""
    made = ca.issue_cert(name, not_before=not_before, not_after=not_after)
    return made.private_key_and_cert_chain_pem.bytes()


@asynccontextmanager
async def front(
    server: Server,
    ca: trustme.CA,
    folder: Path,
    *,
    wants_certificate: bool = False,
    certificate: bytes | None = None,
    tls_versions: tuple[str, ...] = Site.tls_versions,
) -> AsyncIterator[Front]:
    """Yield a server in front of a simulator, with a valid certificate or this one."""
    pim = simulator()
    runner, url = await serve(pim)
    ca_file = folder / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    upstream = int(url.rpartition(":")[2])
    client_ca = ca_file if wants_certificate else None
    site = Site(folder, upstream, free_port(), free_port(), client_ca, tls_versions)
    site.certificate.write_bytes(certificate or issued(ca, "localhost"))
    served = Front(pim, site, ca_file)
    try:
        async with running(server(site), site.plain, site.secure):
            yield served
    finally:
        for client in served.clients:
            await client.close()
        await runner.cleanup()


def write(data_bytes: int = 10) -> UpsertAssets:
    """Return an upsert of one asset of this size."""
    values = nested({("n", None, None): "x" * data_bytes})
    return UpsertAssets("packshots", (UpsertAsset(Asset("packshots", "a"), values, 0),))


async def send(api: HttpAssetApi, request: UpsertAssets | GetFamilies | UploadFile) -> Answer:
    """Send a request, with the requests that its token takes."""

    async def permit() -> None: ...

    return await api.send(request, permit=permit, may_write=lambda: True)


async def send_in_tries(api: HttpAssetApi, request: UpsertAssets, tries_max: int) -> CallReply:
    """Return the reply to the first of these tries whose connection does not fail."""
    for _ in range(tries_max - 1):
        answer = await send(api, request)
        if not isinstance(answer, CallFault):
            return reply(answer)
    return reply(await send(api, request))


def reply(answer: Answer) -> CallReply:
    """Return the reply that the answer must be."""
    assert isinstance(answer, CallReply), answer
    return answer


def fault(answer: Answer) -> str:
    """Return the message of the connection's fault that the answer must be."""
    assert isinstance(answer, CallFault), answer
    assert answer.kind is FaultKind.CONNECTION
    return answer.message


@each_server
@each_scheme
async def test_calls_at_once_and_one_after_another(
    server: Server, scheme: str, ca: trustme.CA, tmp_path: Path
) -> None:
    """Each call arrives once and is answered, even if the server compresses the answer."""
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
    """Each large body gets a 413 and never a broken connection, while small ones arrive."""
    async with front(server, ca, tmp_path) as behind:
        api = behind.api(scheme)
        for _ in range(10):
            refused = reply(await send(api, write(4 * 1024 * 1024)))
            assert (refused.status, refused.is_from_pim) == (413, False)
            assert reply(await send(api, write(900_000))).status == 200
        await api.close()
        assert behind.pim.writes == 10


@each_server
@each_scheme
async def test_uploads(server: Server, scheme: str, ca: trustme.CA, tmp_path: Path) -> None:
    """A file arrives whole; one that is too large for the server gets a 413 each time."""
    folder = MediaFolder(tmp_path / "media")
    for file_id, size in ((1, 900_000), (2, 4 * 1024 * 1024)):
        file = folder.new_file(file_id)
        await file.write(b"x" * size)
        await file.finish()
    async with front(server, ca, tmp_path) as behind:
        api = behind.api(scheme, Uploads(folder, 20.0))
        for _ in range(5):
            taken = reply(await send(api, UploadFile(1, "small.jpg", "image/jpeg")))
            assert taken.status == 201
            assert behind.pim.media[taken.media_code or ""] == b"x" * 900_000
            refused = reply(await send(api, UploadFile(2, "large.jpg", "image/jpeg")))
            assert (refused.status, refused.is_from_pim) == (413, False)
        await api.close()
        assert len(behind.pim.media) == 5
    await folder.close()


@each_server
@each_scheme
async def test_a_connection_that_the_server_closed_while_it_rested(
    server: Server, scheme: str, ca: trustme.CA, tmp_path: Path
) -> None:
    """The next call opens another connection."""
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
    """The call is answered or a fault, and never delivered twice."""
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
    """The client shows it to a server that asks; without it, no request reaches the PIM."""
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
    """No request is sent."""
    async with front(server, ca, tmp_path) as behind:
        api = behind.api("https", ca_file=None)
        assert "certificate verify failed" in fault(await send(api, write()))
        await api.close()
        assert behind.pim.tokens.given == 0


def self_signed(_: trustme.CA) -> bytes:
    """Return the key and the certificate of a server that no CA signed."""
    alone = trustme.CA()
    return alone.private_key_pem.bytes() + alone.cert_pem.bytes()


@each_server
@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        (lambda ca: issued(ca, "other.example"), "certificate is not valid for 'localhost'"),
        (lambda ca: issued(ca, "localhost", not_after=LONG_AGO), "certificate has expired"),
        (lambda ca: issued(ca, "localhost", not_before=FAR_AHEAD), "certificate is not yet valid"),
        (self_signed, "self-signed certificate"),
    ],
    ids=["another name", "expired", "not yet valid", "self-signed"],
)
async def test_a_certificate_that_is_not_good(
    server: Server,
    certificate: Callable[[trustme.CA], bytes],
    words: str,
    ca: trustme.CA,
    tmp_path: Path,
) -> None:
    """The fault says what is wrong with the certificate, and no request is sent."""
    async with front(server, ca, tmp_path, certificate=certificate(ca)) as behind:
        api = behind.api("https")
        for _ in range(2):
            message = fault(await send(api, write()))
            assert message.startswith("The connection failed: ")
            assert words in message
        await api.close()
        assert behind.pim.tokens.given == 0


@each_server
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_a_server_of_one_tls_version(
    server: Server, version: str, ca: trustme.CA, tmp_path: Path
) -> None:
    """TLS 1.2 alone is enough, and so is 1.3."""
    async with front(server, ca, tmp_path, tls_versions=(version,)) as behind:
        assert await version_of(behind) == version
        api = behind.api("https")
        assert reply(await send(api, write())).status == 200
        await api.close()


@each_server
async def test_a_server_of_old_tls_versions(server: Server, ca: trustme.CA, tmp_path: Path) -> None:
    """The fault names the versions that are needed, and no request is sent."""
    async with front(server, ca, tmp_path, tls_versions=("TLSv1", "TLSv1.1")) as behind:
        assert await version_of(behind) == "TLSv1.1"
        api = behind.api("https")
        for _ in range(2):
            message = fault(await send(api, write()))
            assert "The server does not support TLS 1.2 or later" in message
        await api.close()
        assert behind.pim.tokens.given == 0


async def version_of(behind: Front) -> str:
    """Return the version that the server chooses for a client that takes any."""
    tls = ssl.create_default_context(cafile=behind.ca_file)
    with warnings.catch_warnings(action="ignore"):  # that such versions are old
        tls.minimum_version = ssl.TLSVersion.TLSv1
    tls.set_ciphers(ANY_CIPHER)
    port = behind.site.secure
    _, writer = await asyncio.open_connection("localhost", port, ssl=tls)
    version: str = writer.get_extra_info("ssl_object").version()
    writer.close()
    return version


@asynccontextmanager
async def scripted(
    server: Server,
    folder: Path,
    answer: bytes,
    *,
    packs: bool = False,
    trailers: tuple[str, ...] = (),
) -> AsyncIterator[int]:
    """Yield the port of a server in front of an upstream with one fixed answer."""
    handlers: set[asyncio.Task[None] | None] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
        writer.close()

    upstream = await asyncio.start_server(take, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    made = Site(folder, port, free_port(), free_port(), packs=packs, trailers=trailers)
    made.certificate.write_bytes(issued(trustme.CA(), "localhost"))
    async with running(server(made), made.plain, made.secure):
        yield made.plain
    upstream.close()
    await asyncio.gather(*filter(None, handlers))


async def on_the_wire(port: int) -> bytes:
    """Return the bytes that the server sends to a client that does not accept gzip."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /a HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: identity\r\n"
        b"Connection: close\r\n\r\n"
    )
    written = await reader.read()
    writer.close()
    return written.lower()


async def asked(port: int, times: int) -> list[RawReply]:
    """Return the replies that the client reads, one after another."""
    settings = {"base_url": f"http://127.0.0.1:{port}", "app_token": "t"}
    client = PimClient(PimSettings.model_validate(settings))
    replies = [await client.exchange(HttpRequest("GET", "/a"), "Bearer t") for _ in range(times)]
    await client.close()
    return replies


@pytest.mark.parametrize("server", [nginx, haproxy])
async def test_trailers_are_not_headers(server: Server, tmp_path: Path) -> None:
    """A trailer is not read as a header or as the beginning of the next answer.

    Apache drops the trailers of its upstream, and adds none.
    """
    trailers = ("Retry-After", "Content-Encoding", "X-Late")
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    answer += b"Transfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n2\r\n[]\r\n0\r\n"
    answer += b"".join(f"{name}: late\r\n".encode() for name in trailers) + b"\r\n"
    async with scripted(server, tmp_path, answer, trailers=trailers) as port:
        _, _, end = (await on_the_wire(port)).partition(b"\r\n0\r\n")
        for name in trailers:
            assert f"{name.lower()}: late\r\n".encode() in end
        for found in await asked(port, 3):
            assert (found.status, found.body) == (200, b"[]")
            assert not {name.lower() for name in trailers} & found.headers.keys()


@each_server
async def test_an_answer_that_is_packed_unasked(server: Server, tmp_path: Path) -> None:
    """The client decompresses it, chunked or not."""
    body = b"[" + b", ".join([b'{"code": "a", "status_code": 204}'] * 100) + b"]"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    for answer in (
        head + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    ):
        async with scripted(server, tmp_path, answer, packs=True) as port:
            assert b"content-encoding: gzip" in await on_the_wire(port)
            for found in await asked(port, 3):
                assert (found.status, found.body) == (200, body)
                assert found.headers["content-encoding"] == "gzip"


@each_proxy
@each_scheme
async def test_through_a_proxy(proxy: Proxy, scheme: str, ca: trustme.CA, tmp_path: Path) -> None:
    """Every call arrives, and only the proxy gets its password.

    tinyproxy closes a connection after its answer without having said so. The next request may be
    on its way then, and is sent again as by the core.
    """
    tries_max = 5 if proxy is tinyproxy else 1
    port = free_port()
    folder = tmp_path / "proxy"
    folder.mkdir()
    async with front(nginx, ca, tmp_path) as behind, running(proxy(folder, port), port):
        api = behind.api(scheme, proxy_url=f"http://{USER}:{PASSWORD}@127.0.0.1:{port}")
        for _ in range(10):
            found = await asyncio.gather(
                *(send_in_tries(api, write(), tries_max) for _ in range(2))
            )
            assert {answer.status for answer in found} == {200}
        refused = await send_in_tries(api, write(4 * 1024 * 1024), tries_max)
        assert refused.status == 413
        await asyncio.sleep(KEEPALIVE_SECONDS + 0.5)
        assert reply(await send(api, write())).status == 200
        await api.close()
        assert behind.pim.writes == 21


@each_proxy
async def test_a_proxy_that_does_not_know_us(proxy: Proxy, ca: trustme.CA, tmp_path: Path) -> None:
    """The fault has the proxy's reason without the password, and nothing stays open."""
    port = free_port()
    folder = tmp_path / "proxy"
    folder.mkdir()
    async with front(nginx, ca, tmp_path) as behind, running(proxy(folder, port), port):
        for user in ("", f"{USER}:wr0ng-s3cret@"):
            api = behind.api("https", proxy_url=f"http://{user}127.0.0.1:{port}")
            for _ in range(3):
                message = fault(await send(api, write()))
                assert message.startswith("The proxy refused the request: 40")
                assert "s3cret" not in message
            await api.close()
        assert behind.pim.tokens.given == 0
