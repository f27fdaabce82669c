"""The connection to the PIM: TLS with a private CA, and proxies."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.akeneo.check_pim import check_pim
from service.core.inputs import Answer, CallFault, CallReply, FaultKind
from service.core.requests import GetFamilies
from service.playground.pim.frame import Frame
from service.playground.pim.server import application, serve
from service.playground.pim.simulator import PimSimulator
from service.ports import Finding
from service.settings import Credentials, PimSettings, SettingsError
from tests.support.pim import credentials_of, simulator

USER, PASSWORD = "proxy-user", "proxy-secret"
NO_CONNECTION = {"client_id": "x", "client_secret": "x", "username": "x", "password": "x"}


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Return a private CA."""
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    """Return the file of the private CA."""
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


@asynccontextmanager
async def pim_with_tls(
    ca: trustme.CA, name: str = "localhost"
) -> AsyncIterator[tuple[PimSimulator, str]]:
    """Yield a simulator on localhost with a certificate for this name."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name).configure_cert(tls)
    pim = simulator()
    runner = web.AppRunner(application(pim), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    yield pim, f"https://localhost:{runner.addresses[0][1]}"
    await runner.cleanup()


@dataclass
class ForwardProxy:
    """An HTTP proxy that asks for a password, and remembers its requests."""

    asked: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection of a client."""
        self.writers.append(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode().split("\r\n")[0].split(" ")
        self.asked.append(f"{method} {target}")
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode())
        if b"Basic " + token not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            writer.close()
            return
        host, _, port = target.removeprefix("http://").partition("/")[0].rpartition(":")
        if host.endswith((".invalid", "]")):
            writer.close()  # nobody is to be reached there
            return
        onward_reader, onward = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            onward.write(head)
        await asyncio.gather(_pump(reader, onward), _pump(onward_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def forward_proxy(ca: trustme.CA | None = None) -> AsyncIterator[tuple[ForwardProxy, str]]:
    """Yield a proxy on loopback, with TLS if a CA is given, and its URL with user and password."""
    proxy = ForwardProxy()
    tls = None
    if ca is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("localhost").configure_cert(tls)
    server = await asyncio.start_server(proxy.take, "127.0.0.1", 0, ssl=tls)
    scheme, port = "https" if tls else "http", server.sockets[0].getsockname()[1]
    yield proxy, f"{scheme}://{USER}:{PASSWORD}@localhost:{port}"
    for writer in proxy.writers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    server.close()


def fault(answer: Answer) -> str:
    """Return the message of the connection's fault that the answer must be."""
    assert isinstance(answer, CallFault), answer
    assert answer.kind is FaultKind.CONNECTION
    return answer.message


async def ask(pim: PimSimulator, url: str, **settings: object) -> Answer:
    """Log in and read the list of families."""
    made = PimSettings.model_validate({"base_url": url, **NO_CONNECTION, **settings})
    api = HttpAssetApi(made, lambda: credentials_of(pim))

    async def permit() -> None: ...

    try:
        return await api.send(GetFamilies(), permit=permit, may_write=lambda: True)
    finally:
        await api.close()


async def test_a_private_ca(ca: trustme.CA, ca_file: Path) -> None:
    """The CA is trusted only if the setting names it."""
    async with pim_with_tls(ca) as (pim, url):
        assert isinstance(await ask(pim, url, ca_file=ca_file), CallReply)

        assert "certificate verify failed" in fault(await ask(pim, url))


async def test_a_certificate_of_another_name(ca: trustme.CA, ca_file: Path) -> None:
    """A server with such a certificate is not the PIM."""
    async with pim_with_tls(ca, "pim.example") as (pim, url):
        assert "not valid for 'localhost'" in fault(await ask(pim, url, ca_file=ca_file))


async def test_through_a_proxy_as_a_tunnel(ca: trustme.CA, ca_file: Path) -> None:
    """The proxy cannot read HTTPS, and only the proxy gets its password."""
    async with pim_with_tls(ca) as (pim, url), forward_proxy() as (proxy, proxy_url):
        answer = await ask(pim, url, ca_file=ca_file, proxy_url=proxy_url)

    assert isinstance(answer, CallReply)
    assert answer.status == 200
    assert {line.split()[0] for line in proxy.asked} == {"CONNECT"}


async def test_a_tunnel_to_somebody_else(ca: trustme.CA) -> None:
    """The proxy connects to a server that is not the PIM, and TLS notices."""
    async with pim_with_tls(ca) as (pim, url), forward_proxy() as (_, proxy_url):
        assert "certificate verify failed" in fault(await ask(pim, url, proxy_url=proxy_url))


async def test_through_a_proxy_that_speaks_tls_itself(ca: trustme.CA, ca_file: Path) -> None:
    """TLS runs within TLS, and the private CA may be the proxy's too."""
    async with pim_with_tls(ca) as (pim, url), forward_proxy(ca) as (proxy, proxy_url):
        answer = await ask(pim, url, ca_file=ca_file, proxy_url=proxy_url)
        assert "certificate verify failed" in fault(await ask(pim, url, proxy_url=proxy_url))

    assert isinstance(answer, CallReply)
    assert answer.status == 200
    assert {line.split()[0] for line in proxy.asked} == {"CONNECT"}


async def test_plain_http_through_a_proxy() -> None:
    """The request names the whole URL."""
    pim = simulator()
    runner, url = await serve(pim)
    async with forward_proxy() as (proxy, proxy_url):
        answer = await ask(pim, url, proxy_url=proxy_url)
    await runner.cleanup()

    assert isinstance(answer, CallReply)
    assert answer.status == 200
    first, *_ = proxy.asked  # the others came through the same connection
    assert first == f"POST {url}/api/oauth/v1/token"


async def test_a_proxy_that_refuses_us(ca: trustme.CA, ca_file: Path) -> None:
    """The message has the proxy's reason, and never the password."""
    async with pim_with_tls(ca) as (pim, url), forward_proxy() as (_, proxy_url):
        stranger = proxy_url.replace(USER, "nobody")
        message = fault(await ask(pim, url, ca_file=ca_file, proxy_url=stranger))

    assert message == "The proxy refused the request: 407 Proxy Authentication Required."


async def test_a_proxy_that_is_not_there(ca: trustme.CA, ca_file: Path) -> None:
    """The message has the reason, and never the password."""
    async with pim_with_tls(ca) as (pim, url):
        gone = f"http://{USER}:{PASSWORD}@127.0.0.1:9"
        message = fault(await ask(pim, url, ca_file=ca_file, proxy_url=gone))

    assert "127.0.0.1" in message
    assert PASSWORD not in message


async def test_a_pim_below_a_path() -> None:
    """The PIM may share a web server, and its path is quoted as given."""
    pim = simulator()
    seen: list[str] = []

    async def forward(request: web.Request) -> web.StreamResponse:
        seen.append(request.raw_path)
        if request.path.endswith("/token"):
            return await Frame(pim).token(request)
        return web.json_response([])

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    assert isinstance(await ask(pim, f"http://127.0.0.1:{port}/the%2Fpim/"), CallReply)
    await runner.cleanup()
    assert seen == [
        "/the%2Fpim/api/oauth/v1/token",
        "/the%2Fpim/api/rest/v1/asset-families",
    ]


@pytest.mark.parametrize("url", ["https://pim\\example", f"https://{'a' * 70}.example"])
async def test_a_url_that_cannot_be_called(url: str) -> None:
    """The error is reported at the start, not with each call."""
    with pytest.raises(SettingsError, match="ASSET_SYNC_PIM__BASE_URL is not a valid URL: "):
        await ask(simulator(), url)


async def test_an_address_of_version_6_through_a_tunnel() -> None:
    """The proxy gets an IPv6 address in brackets."""
    async with forward_proxy() as (proxy, proxy_url):
        fault(await ask(simulator(), "https://[::1]:9", proxy_url=proxy_url))
    assert proxy.asked == ["CONNECT [::1]:9"]


async def test_a_name_in_another_alphabet() -> None:
    """The request, the proxy and TLS get the name as DNS spells it."""
    async with forward_proxy() as (proxy, proxy_url):
        await ask(simulator(), "https://p\u00efm.invalid", proxy_url=proxy_url, timeout_seconds=5)
    assert proxy.asked == ["CONNECT xn--pm-tja.invalid:443"]


async def test_what_the_environment_says_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxies and passwords in the environment of the user are ignored."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password s3cret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    pim = simulator()
    runner, url = await serve(pim)
    answer = await ask(pim, url)
    await runner.cleanup()
    assert isinstance(answer, CallReply)


@pytest.mark.parametrize("date", ["Mon, 01 Jan 2024 00:00:00 -0000", "\u00e9", "1 Jan 99999 0:0:0"])
async def test_the_check_takes_any_answer(date: str) -> None:
    """Invalid dates and a version that is not text become findings, and never a traceback."""

    async def odd(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/asset-families"):
            body = b'{"_embedded":{"items":[{"code":"f"}]}}'
            return web.Response(body=body, headers={"date": date})
        return web.Response(body=b'{"version":[1],"edition":{}}')

    messages = {found.message for found in await findings_of(odd)}
    assert "The PIM reports its version in an unknown format." in messages


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "is not the API of a PIM: it answers HTTP 200"),
        (b"[" * 100_000, "is not the API of a PIM"),
        (b"{}", "is not the API of a PIM"),
        (b'{"_embedded":{"items":[]}}', "The PIM shows no asset family."),
    ],
)
async def test_a_web_page_is_not_a_pim_without_families(body: bytes, said: str) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    (found,) = await findings_of(page)
    assert (found.grade, said in found.message) == ("failed", True), found
    assert ("BASE_URL" in found.remedy) is (b"items" not in body)


async def findings_of(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> list[Finding]:
    """Return what the check finds of a server that answers everything with this handler."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pim = PimSettings.model_validate(
        {"base_url": f"http://127.0.0.1:{runner.addresses[0][1]}", "app_token": "t"}
    )
    api = HttpAssetApi(pim, lambda: Credentials(app_token="t"))
    findings = await check_pim(api, pim)
    await api.close()
    await runner.cleanup()
    return findings
