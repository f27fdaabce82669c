"""`HttpAssetApi` against the simulator: tokens, permits and faults."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

import pytest
from aiohttp import web

from service.adapters.akeneo.api import HttpAssetApi
from service.core.inputs import Answer, CallFault, CallReply, FaultKind
from service.core.model import Asset, UpsertAsset
from service.core.requests import DeleteOne, GetFamilies, Request, UpsertAssets
from service.playground.pim.faults import Fault
from service.playground.pim.frame import Frame
from service.playground.pim.server import serve
from service.playground.pim.simulator import PimSimulator
from service.settings import Credentials, PimSettings
from tests.support.pim import api_of, credentials_of, simulator

WRITE = UpsertAssets("packshots", (UpsertAsset(Asset("packshots", "a"), {}, 0),))


@dataclass
class ClientOfSimulator:
    """A simulator, a client of it, and the permits that the client asked for."""

    pim: PimSimulator
    api: HttpAssetApi
    permits: int = 0
    may_write: bool = True
    answers: list[Answer] = field(default_factory=list)

    async def permit(self) -> None:
        """Grant a permit at once, and count it."""
        self.permits += 1

    async def write(self) -> Answer:
        """Send one upsert."""
        return await self.api.send(WRITE, permit=self.permit, may_write=lambda: self.may_write)


@pytest.fixture
async def client() -> AsyncIterator[ClientOfSimulator]:
    """Yield a client of a simulator."""
    pim = simulator()
    runner, url = await serve(pim)
    made = ClientOfSimulator(pim, api_of(pim, url))
    yield made
    await made.api.close()
    await runner.cleanup()


def fault(answer: Answer) -> FaultKind:
    """Return the kind of the fault that the answer must be."""
    assert isinstance(answer, CallFault), answer
    return answer.kind


async def test_a_login_takes_one_more_permit(client: ClientOfSimulator) -> None:
    """The token's request uses the call's permit, so the write needs another one."""
    assert isinstance(await client.write(), CallReply)
    assert client.permits == 1
    await client.write()
    assert client.permits == 1


async def test_logging_in_is_single_flight(client: ClientOfSimulator) -> None:
    """Ten concurrent calls fetch one token."""
    answers = await asyncio.gather(*(client.write() for _ in range(10)))

    assert {answer.status for answer in answers if isinstance(answer, CallReply)} == {200}
    assert client.pim.tokens.given == 1


async def test_an_expired_token_is_renewed_and_the_call_replayed(client: ClientOfSimulator) -> None:
    """After a 401, the refresh token is used and then, if it is gone too, the password."""
    await client.write()
    client.pim.tokens.forget()

    answer = await client.write()

    assert isinstance(answer, CallReply)
    assert answer.status == 200
    assert client.pim.tokens.given == 2


async def test_a_refresh_token_that_was_refused_is_not_used_again(
    client: ClientOfSimulator,
) -> None:
    """A PIM that throttles each second request would else never be sent the password."""

    async def throttle() -> None:
        client.pim.faults.add(Fault(route="token", status=429))

    await client.write()
    client.pim.tokens.forget()
    throttled = await client.api.send(WRITE, permit=throttle, may_write=lambda: True)
    assert isinstance(throttled, CallReply)
    assert throttled.status == 429

    client.permits = 0
    answer = await client.write()
    assert isinstance(answer, CallReply)
    assert (answer.status, client.permits) == (200, 1)


async def test_a_401_that_stays_is_passed_on_after_one_replay(client: ClientOfSimulator) -> None:
    """The client does not renew the token without end."""
    await client.write()
    client.pim.faults.add(Fault(status=401, times=2))

    answer = await client.write()

    assert isinstance(answer, CallReply)
    assert answer.status == 401
    assert not client.pim.faults.are_pending


async def test_refused_credentials_and_their_mending(client: ClientOfSimulator) -> None:
    """The message is the PIM's, and a rotated password is read at the next login."""
    stale = Credentials(client_id="client", client_secret="secret", username="u", password="0pen")
    client.api._credentials = lambda: stale
    answer = await client.write()
    assert fault(answer) is FaultKind.CREDENTIALS
    assert isinstance(answer, CallFault)
    assert "No user found" in answer.message
    assert stale.password not in answer.message

    client.api._credentials = lambda: credentials_of(client.pim)
    assert isinstance(await client.write(), CallReply)


async def test_no_answer_in_time(client: ClientOfSimulator) -> None:
    """A PIM that hangs occupies a call for the timeout, not for ever."""
    client.pim.faults.add(Fault(hang=True))
    client.api._timeout_seconds = 0.1
    assert fault(await client.write()) is FaultKind.TIMEOUT


async def test_a_cut_connection(client: ClientOfSimulator) -> None:
    """The fault has a message."""
    client.pim.faults.add(Fault(cut="before"))
    answer = await client.write()
    assert fault(answer) is FaultKind.CONNECTION
    assert isinstance(answer, CallFault)
    assert answer.message.startswith("The connection failed: ")


async def test_the_lease_may_end_while_the_token_is_fetched(client: ClientOfSimulator) -> None:
    """The write is then not sent."""
    client.may_write = False
    assert fault(await client.write()) is FaultKind.CANCELLED
    assert client.pim.writes == 0


async def test_a_code_that_is_a_step_of_a_path_is_not_sent(client: ClientOfSimulator) -> None:
    """A proxy would resolve it to another resource; nothing is known about the PIM."""
    delete = DeleteOne("packshots", "..")
    answer = await client.api.send(delete, permit=client.permit, may_write=lambda: True)
    assert fault(answer) is FaultKind.UNSENDABLE
    assert client.pim.tokens.given == 0


Handler = Callable[[web.Request], web.StreamResponse]


@asynccontextmanager
async def client_of(
    handler: Handler, grant: Callable[[], web.StreamResponse] | None = None
) -> AsyncIterator[Callable[[Request], Awaitable[Answer]]]:
    """Yield a client of a server with this handler; tokens come from the simulator or `grant`."""
    pim = simulator()
    application = web.Application()

    async def token(request: web.Request) -> web.StreamResponse:
        return await Frame(pim).token(request) if grant is None else grant()

    application.router.add_post("/api/oauth/v1/token", token)

    async def odd(request: web.Request) -> web.StreamResponse:
        await request.read()
        return handler(request)

    application.router.add_route("*", "/api/rest/v1/{path:.*}", odd)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    # By name: cookies of an address would not be kept anyway.
    api = api_of(pim, f"http://localhost:{runner.addresses[0][1]}")

    async def permit() -> None: ...

    async def send(request: Request) -> Answer:
        return await api.send(request, permit=permit, may_write=lambda: True)

    try:
        yield send
    finally:
        await api.close()
        await runner.cleanup()


async def answer_of(response: web.StreamResponse) -> Answer:
    """Return what the client makes of an answer that no PIM gives."""
    async with client_of(lambda _: response) as send:
        return await send(GetFamilies())


async def test_what_a_request_says() -> None:
    """A request has the headers of its body and of the client, and never a cookie."""
    seen: list[web.Request] = []

    def watch(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        answer = web.json_response([])
        answer.set_cookie("sticky", "1")
        return answer

    async with client_of(watch) as send:
        await send(GetFamilies())
        await send(WRITE)

    get, write = seen
    for request in seen:
        assert request.headers["authorization"].startswith("Bearer ")
        assert request.headers["accept"] == "application/json"
        assert request.headers["user-agent"] == "asset-sync"
        assert request.headers["host"].startswith("localhost:")
        assert "cookie" not in request.headers
    assert "content-type" not in get.headers
    assert write.headers["content-type"] == "application/json"
    assert write.headers["content-length"] == str(len(await write.read()))
    assert "transfer-encoding" not in write.headers


async def test_calls_one_after_another_share_a_connection() -> None:
    """The connection is reused after any answer: without a body, in chunks, or an error."""
    ways = set()

    def watch(request: web.Request) -> web.StreamResponse:
        ways.add(request.transport)
        if request.method == "DELETE":
            return web.Response(status=204)
        answer = web.json_response([], status=200 if request.method == "PATCH" else 404)
        answer.enable_chunked_encoding()
        return answer

    async with client_of(watch) as send:
        for request in (GetFamilies(), WRITE, DeleteOne("packshots", "a")) * 3:
            await send(request)

    assert len(ways) == 1


@pytest.mark.parametrize("request_", [GetFamilies(), WRITE, DeleteOne("packshots", "a")])
async def test_a_request_leaves_once(request_: Request) -> None:
    """A request sent again by a library would exceed the rate limit."""
    asked: list[str] = []

    def cut(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        if len(asked) > 1:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response([])

    async with client_of(cut) as send:
        await send(GetFamilies())
        assert fault(await send(request_)) is FaultKind.CONNECTION
        assert fault(await send(request_)) is FaultKind.CONNECTION

    assert len(asked) == 3


async def test_a_code_arrives_as_it_is() -> None:
    """Three libraries handle the URL, and none may change the code."""
    seen: list[str] = []

    def watch(request: web.Request) -> web.StreamResponse:
        seen.append(unquote(request.raw_path.rpartition("/assets/")[2]))
        return web.Response(status=204)

    plain = [f"a{chr(number)}b" for number in range(33, 127) if chr(number) != "/"]
    codes = [*plain, "%2e", "%252e", "%2F..", "%", "...", "a b", "\u00e9", "e\u0301", "\U0001f600"]
    async with client_of(watch) as send:
        for code in codes:
            await send(DeleteOne("packshots", code))

    assert seen == codes


async def test_a_packed_answer_is_unpacked() -> None:
    """Many web servers compress long answers."""
    packed = web.json_response([{"code": "a", "status_code": 204}] * 100)
    packed.enable_compression(web.ContentCoding.gzip)
    answer = await answer_of(packed)
    assert isinstance(answer, CallReply)
    assert answer.items is not None
    assert len(answer.items) == 100


async def test_a_packed_answer_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decompressed size counts."""
    monkeypatch.setattr("service.adapters.akeneo.client.REPLY_BYTES_MAX", 1000)
    packed = web.Response(body=b"x" * 5000)
    packed.enable_compression(web.ContentCoding.gzip)
    assert fault(await answer_of(packed)) is FaultKind.CONNECTION


async def test_an_answer_that_is_not_packed_as_it_says() -> None:
    """This is a fault of the connection, so a retry may succeed."""
    answer = await answer_of(web.Response(body=b"[]", headers={"content-encoding": "gzip"}))
    assert fault(answer) is FaultKind.CONNECTION


async def test_a_redirect_is_not_followed() -> None:
    """A login page behind the redirect is not the PIM."""
    answer = await answer_of(web.Response(status=302, headers={"location": "/login"}))
    assert isinstance(answer, CallReply)
    assert answer.status == 302


async def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client bounds its memory itself."""
    monkeypatch.setattr("service.adapters.akeneo.client.REPLY_BYTES_MAX", 1000)
    answer = await answer_of(web.Response(body=b"x" * 5000))
    assert fault(answer) is FaultKind.CONNECTION


async def test_an_unreachable_pim() -> None:
    """The message has the details of the address."""
    api = api_of(simulator(), "http://127.0.0.1:9")

    async def permit() -> None: ...

    answer = await api.send(WRITE, permit=permit, may_write=lambda: True)
    await api.close()
    assert fault(answer) is FaultKind.CONNECTION
    assert isinstance(answer, CallFault)
    assert "127.0.0.1" in answer.message


@pytest.mark.parametrize("token", ["a\nb", "\x00", "t\u00f6ken", "two words", "", "t" * 100_000])
async def test_a_token_that_no_header_takes(token: str) -> None:
    """Such a token counts as no token."""
    grant = web.json_response({"access_token": token, "expires_in": 3600})
    async with client_of(lambda _: web.json_response([]), lambda: grant) as send:
        assert fault(await send(GetFamilies())) is FaultKind.CONNECTION


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content-encoding", "\u00e9"),
        ("retry-after", "\u00a0" * 12 + "5"),
        ("retry-after", "9" * 5000),
        ("retry-after", "Mon, 01 Jan 99999999999999999999 00:00:00 +9999999"),
        ("content-type", "\u00ff; charset=\u00ff"),
        ("set-cookie", "\u00e9=;=;;\u00ff; expires=never; path="),
        ("location", "http://[::1"),
        ("date", "yesterday -0000"),
    ],
)
@pytest.mark.parametrize("status", [200, 302, 429, 503])
async def test_whatever_stands_in_a_header(status: int, name: str, value: str) -> None:
    """Headers in any encoding give an answer or a fault, and never an exception."""
    head = f"HTTP/1.1 {status} X\r\n{name}: {value}\r\nContent-Length: 2\r\n\r\n[]"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode("latin-1"))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    settings = {
        "base_url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        "app_token": "t",
    }
    api = HttpAssetApi(PimSettings.model_validate(settings), lambda: Credentials(app_token="t"))

    async def permit() -> None: ...

    found = await api.send(WRITE, permit=permit, may_write=lambda: True)
    await api.close()
    server.close()
    if name == "content-encoding":
        assert fault(found) is FaultKind.CONNECTION
    else:
        assert isinstance(found, CallReply)
        assert found.status == status


@pytest.mark.parametrize(
    "error", [ValueError("odd"), RuntimeError(), UnicodeError("odd"), KeyError()]
)
async def test_whatever_is_raised_on_the_way_is_a_fault(
    client: ClientOfSimulator, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """An unforeseen error of a library or of reading the answer is a fault too."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("service.adapters.akeneo.api.read_answer", fail)
    assert fault(await client.write()) is FaultKind.CONNECTION
    monkeypatch.setattr(client.api._client, "exchange", fail)
    assert fault(await client.write()) is FaultKind.CONNECTION


@pytest.mark.parametrize("status", [404, 405, 409, 413, 415])
async def test_a_token_that_is_refused_oddly_refuses_no_asset(status: int) -> None:
    """An error of the token's request is not a verdict on the call's assets."""
    refusal = {"code": status, "message": "no token here"}
    async with client_of(
        lambda _: web.json_response([]), lambda: web.json_response(refusal, status=status)
    ) as send:
        assert fault(await send(WRITE)) is FaultKind.CONNECTION


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_a_success_of_the_token_is_none_of_the_delete(status: int) -> None:
    """A server that answers 2xx to everything has deleted nothing."""
    async with client_of(
        lambda _: web.Response(status=204), lambda: web.Response(status=status)
    ) as send:
        assert fault(await send(DeleteOne("packshots", "a"))) is FaultKind.CONNECTION
