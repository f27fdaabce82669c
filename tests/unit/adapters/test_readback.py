"""The client of a DAM's host against real servers on loopback: credentials, limits and faults."""

import asyncio
import base64
import contextlib
import gzip
import json
import socket
import ssl
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.http_client import RawReply
from service.adapters.oauth import TokenRequest
from service.adapters.readback.answers import beginning, read_answer
from service.adapters.readback.check_hosts import check_hosts
from service.adapters.readback.host import DamHost
from service.adapters.readback.hosts import HttpDamHosts
from service.adapters.readback.pace import Pace
from service.apps.source import read_seconds_max
from service.core.facts import Fact
from service.mapping.file.hosts import Host
from service.mapping.results import NotFound
from service.settings import SettingsError
from service.translation.facts import ReadEnded
from service.translation.read_answers import Found, HostTrouble, ReadAnswer, Refused, TooLarge

SECRETS = {
    "key": "s3cret-key",
    "user": "björn",
    "pass": "pä:ss",
    "id": "client",
    "client": "s3 c+t",
}
OAUTH2 = {"token_url": "TOKEN_URL", "client_id": "id", "client_secret": "client", "scope": "api"}

Answer = Callable[[web.Request], web.StreamResponse]


@dataclass
class Dam:
    """A DAM that answers each path with what it was told, and remembers the requests."""

    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    seconds: float = 0.0
    """How long an answer takes."""
    at_once: int = 0
    at_once_max: int = 0
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            self.asked.append((request.raw_path, request.headers, await request.read()))
            await asyncio.sleep(self.seconds)
            answer = self.answers.get(request.path, say(b"{}"))
            return (answer.pop(0) if isinstance(answer, list) else answer)(request)
        finally:
            self.at_once -= 1

    def headers(self, name: str) -> list[str | None]:
        """The values of a header in the GETs, in order."""
        return [headers.get(name) for path, headers, _ in self.asked if path != "/token"]

    def forms(self) -> list[dict[str, list[str]]]:
        """The forms that were sent to the token URL."""
        return [parse_qs(body.decode()) for path, _, body in self.asked if path == "/token"]


def say(body: bytes, status: int = 200, **headers: str) -> Answer:
    """An answer with this body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: web.Response(body=body, status=status, headers=named)


def grant(token: str, **more: object) -> Answer:
    """An answer of a token URL."""
    return say(json.dumps({"access_token": token, **more}).encode())


@asynccontextmanager
async def serving(dam: Dam, tls: ssl.SSLContext | None = None) -> AsyncIterator[Dam]:
    """Run the DAM on a free port of loopback."""
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", r"/{any:[\s\S]*}", dam.answer)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    port = runner.addresses[0][1]
    dam.url = f"{'https' if tls else 'http'}://localhost:{port}"
    yield dam
    await runner.cleanup()


@pytest.fixture
async def dam() -> AsyncIterator[Dam]:
    """A DAM that answers 200 with an empty object."""
    async with serving(Dam()) as served:
        yield served


def host_of(dam: Dam, secrets: Mapping[str, str] = SECRETS, **more: Any) -> DamHost:  # noqa: ANN401 - of the file
    """A client of the DAM with these keys of the file."""
    text = json.dumps({"base": dam.url, "allow_private": True, "max_per_second": 1000, **more})
    host = Host.model_validate_json(text.replace("TOKEN_URL", f"{dam.url}/token"))

    def read_secret(name: str) -> str:
        if name not in secrets:
            raise SettingsError(f"The secret {name} cannot be read.")
        return secrets[name]

    return DamHost("dam", host, read_secret)


async def get(dam: Dam, url: str = "/a", **more: Any) -> ReadAnswer:  # noqa: ANN401 - of the file
    """Read once with a new client."""
    host = host_of(dam, **more)
    try:
        return await host.get(url)
    finally:
        await host.close()


def trouble(answer: ReadAnswer) -> HostTrouble:
    """The trouble that the answer must be."""
    assert isinstance(answer, HostTrouble), answer
    return answer


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Found),
        *((status, NotFound) for status in (404, 410)),
        *((status, Refused) for status in (400, 402, 405, 406, 409, 413, 414, 422, 451, 499)),
        *((status, HostTrouble) for status in (401, 403, 407, 408, 429)),
        *((status, HostTrouble) for status in (201, 202, 203, 206, 300, 301, 302, 304, 307, 308)),
        *((status, HostTrouble) for status in (500, 501, 502, 503, 504, 507, 599)),
    ],
)
async def test_what_a_status_means(dam: Dam, status: int, kind: type[ReadAnswer]) -> None:
    """Only a 4xx that is about this asset may cost the event."""
    dam.answers["/a"] = say(b"" if status == 304 else b'{"id": 1}', status)
    answer = await get(dam)
    assert type(answer) is kind
    if isinstance(answer, Found):
        assert answer.body == b'{"id": 1}'


async def test_a_refusal_is_shown_with_its_status_and_200_characters(dam: Dam) -> None:
    dam.answers["/a"] = say(b"  no\n\n\x00 such " + "é".encode() * 300, 422)
    assert await get(dam) == Refused(422, "no such " + "é" * 192)


async def test_retry_after_is_kept(dam: Dam) -> None:
    """In seconds, of a 429 and of a 503."""
    for status in (429, 503):
        dam.answers["/a"] = say(b"slow down", status, Retry_After="17")
        found = trouble(await get(dam))
        assert (found.status, found.retry_after_seconds) == (status, 17.0)
        assert "slow down" in found.message


async def test_a_redirect_is_not_followed(dam: Dam) -> None:
    """Its target might be another host, and would see the credentials."""
    dam.answers["/a"] = say(b"", 302, Location=f"{dam.url}/elsewhere")
    found = trouble(await get(dam, auth={"bearer": "key"}))
    assert "redirects are not followed" in found.message
    assert [path for path, _, _ in dam.asked] == ["/a"]


@given(st.integers(200, 999), st.binary(max_size=300))
def test_every_answer_has_a_meaning(status: int, body: bytes) -> None:
    """Whatever a proxy sends; the message stays on one line."""
    answer = read_answer(RawReply(status, {}, body))
    if isinstance(answer, HostTrouble):
        assert answer.message.isprintable()
    assert len(beginning(body)) <= 200


# --- what is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("/api/media/1?versions=1&x=a%2Fb", "/api/media/1?versions=1&x=a%2Fb"),
        ("media/1", "/media/1"),
        ("/a b\r\nX: y/é", "/a%20b%0D%0AX:%20y/%C3%A9"),
    ],
)
async def test_the_url_goes_below_the_base(dam: Dam, url: str, sent: str) -> None:
    """It is sent as it stands; what would break the request line is encoded."""
    dam.url += "/v4"
    await get(dam, url)
    assert [path for path, _, _ in dam.asked] == [f"/v4{sent}"]


@pytest.mark.parametrize(
    "url", ["/a/../b", "/a/%2e%2E", "/./a", "..", "/a/..%2Fadmin", "/a/b%2f..%2f", "/a/%2E.%5Cb"]
)
async def test_a_path_that_would_lead_elsewhere_is_not_sent(dam: Dam, url: str) -> None:
    """A code from an event must not reach another resource."""
    answer = await get(dam, url)
    assert isinstance(answer, Refused)
    assert answer.status is None
    assert not dam.asked


async def test_dots_in_a_query_lead_nowhere(dam: Dam) -> None:
    assert isinstance(await get(dam, "/a?path=/x/../y"), Found)


async def test_proxies_of_the_environment_are_not_used(
    dam: Dam, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert isinstance(await get(dam), Found)


# --- credentials ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        (None, "Authorization", None),
        ({"bearer": "key"}, "Authorization", "Bearer s3cret-key"),
        ({"header": {"name": "X-Api-Key", "secret": "key"}}, "X-Api-Key", "s3cret-key"),
        (
            {"basic": {"username": "user", "password": "pass"}},
            "Authorization",
            "Basic " + base64.b64encode("björn:pä:ss".encode()).decode(),
        ),
    ],
)
async def test_fixed_credentials(
    dam: Dam, auth: dict[str, object] | None, name: str, value: str | None
) -> None:
    more: dict[str, Any] = {} if auth is None else {"auth": auth}
    assert isinstance(await get(dam, **more), Found)
    assert dam.headers(name) == [value]


async def test_a_client_gets_its_token_once_for_all(dam: Dam) -> None:
    """Ten reads at once fetch one token, with the secret in the form."""
    dam.answers["/token"] = grant("T", expires_in=3600)
    host = host_of(dam, auth={"oauth2": OAUTH2}, max_concurrency=10)
    answers = await asyncio.gather(*(host.get(f"/{number}") for number in range(10)))
    await host.close()

    assert {type(answer) for answer in answers} == {Found}
    assert dam.headers("Authorization") == ["Bearer T"] * 10
    assert dam.forms() == [
        {
            "grant_type": ["client_credentials"],
            "scope": ["api"],
            "client_id": ["client"],
            "client_secret": ["s3 c+t"],
        }
    ]


@pytest.mark.parametrize("status", [400, 401])
async def test_a_client_that_must_show_its_secret_in_a_header(dam: Dam, status: int) -> None:
    dam.answers["/token"] = [say(b'{"error": "invalid_client"}', status), grant("T")]
    assert isinstance(await get(dam, auth={"oauth2": OAUTH2}), Found)

    assert dam.forms()[1] == {"grant_type": ["client_credentials"], "scope": ["api"]}
    shown = base64.b64encode(b"client:s3+c%2Bt").decode()
    assert dam.asked[1][1]["Authorization"] == f"Basic {shown}"


async def test_a_refused_token_is_renewed_once(dam: Dam) -> None:
    """Five reads at once meet a 401; the token is fetched once more, and each read goes again."""
    dam.answers["/token"] = [grant("old"), grant("new")]
    dam.answers["/a"] = lambda request: web.Response(
        status=200 if request.headers["Authorization"] == "Bearer new" else 401, body=b"{}"
    )
    host = host_of(dam, auth={"oauth2": OAUTH2}, max_concurrency=5)
    answers = await asyncio.gather(*(host.get("/a") for _ in range(5)))
    await host.close()

    assert {type(answer) for answer in answers} == {Found}
    assert len(dam.forms()) == 2


async def test_a_second_401_is_the_hosts_trouble(dam: Dam) -> None:
    dam.answers["/token"] = [grant("one"), grant("two")]
    dam.answers["/a"] = say(b"no", 401)
    assert trouble(await get(dam, auth={"oauth2": OAUTH2})).status == 401
    assert dam.headers("Authorization") == ["Bearer one", "Bearer two"]


async def test_a_token_is_renewed_before_it_ends(dam: Dam) -> None:
    dam.answers["/token"] = [grant("short", expires_in=0), grant("long", expires_in="3600")]
    host = host_of(dam, auth={"oauth2": OAUTH2})
    for _ in range(3):
        assert isinstance(await host.get("/a"), Found)
    await host.close()
    assert dam.headers("Authorization") == ["Bearer short", "Bearer long", "Bearer long"]


NO_TOKENS: dict[str, Answer] = {
    "refused": say(b"no", 401),
    "forbidden": say(b"s3 c+t is wrong", 403),
    "throttled": say(b"", 429, Retry_After="9"),
    "broken": say(b"oops", 500),
    "a page": say(b"<html>"),
    "an object without one": say(b"{}"),
    "two words": grant("two words"),
    "too long": grant("x" * 20_000),
    "nested": say(b"{" * 100_000),
    "endless": say(b" " * 100_000),
}


@pytest.mark.parametrize("answer", NO_TOKENS.values(), ids=NO_TOKENS.keys())
async def test_no_token_is_the_hosts_trouble(dam: Dam, answer: Answer) -> None:
    """No event is rejected for it, and its message shows no secret."""
    dam.answers["/token"] = answer
    found = trouble(await get(dam, auth={"oauth2": OAUTH2}))
    assert "s3 c+t" not in repr(found)
    assert not dam.headers("Authorization")
    if found.status == 429:
        assert found.retry_after_seconds == 9.0


@pytest.mark.parametrize(
    "answer",
    [say(b"", 401), say(b"no JSON"), say(b"", 500)],
    ids=["refused", "no JSON", "out of order"],
)
async def test_reads_that_wait_for_one_token_share_its_failure(dam: Dam, answer: Answer) -> None:
    """They do not ask for it one after the other; the next read tries again."""
    dam.answers["/token"], dam.seconds = answer, 0.05
    host = host_of(dam, auth={"oauth2": OAUTH2})
    await host.get("/a")
    alone = len(dam.asked)
    answers = await asyncio.gather(*(host.get("/a") for _ in range(4)))
    await host.close()

    assert len({trouble(one).message for one in answers}) == 1
    assert len(dam.asked) == 2 * alone


async def test_a_token_url_that_hangs_delays_its_reads_together(dam: Dam) -> None:
    """Else the last of them would end after the timeouts of all."""
    dam.seconds = 60
    host = host_of(dam, auth={"oauth2": OAUTH2}, timeout_seconds=0.2)
    began = time.monotonic()
    answers = await asyncio.gather(*(host.get("/a") for _ in range(4)))
    await host.close()

    assert {trouble(one).message for one in answers} == {"did not answer within 0.2 s"}
    assert len(dam.asked) == 1
    assert time.monotonic() - began < 0.8


async def test_a_changed_secret_is_read_after_a_401(dam: Dam) -> None:
    """A mounted secret rotates while the service runs."""
    secrets = {"key": "old"}
    dam.answers["/a"] = lambda request: web.Response(
        status=200 if request.headers["Authorization"] == "Bearer new" else 401, body=b"{}"
    )
    host = host_of(dam, secrets, auth={"bearer": "key"})
    assert trouble(await host.get("/a")).status == 401
    secrets["key"] = "new"
    assert isinstance(await host.get("/a"), Found)
    await host.close()


@pytest.mark.parametrize("secret", [None, "", "two\nlines", "é", " x"])
async def test_a_secret_that_cannot_be_used_is_the_hosts_trouble(
    dam: Dam, secret: str | None
) -> None:
    secrets = {} if secret is None else {"key": secret}
    found = trouble(await get(dam, secrets=secrets, auth={"bearer": "key"}))
    assert "The secret key" in found.message
    assert not dam.asked


async def test_a_host_that_repeats_our_secret_does_not_bring_it_into_a_message(dam: Dam) -> None:
    dam.answers["/a"] = lambda request: web.Response(
        text=f"bad: {request.headers['Authorization']}", status=400
    )
    assert await get(dam, auth={"bearer": "key"}) == Refused(400, "bad: Bearer **********")
    assert "s3" not in repr(TokenRequest(b"s3", "s3"))


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"basic": {"username": "user", "password": "pass"}}, "user björn with password pä:ss"),
        ({"basic": {"username": "key", "password": "empty"}}, "key s3cret-key"),
        ({"header": {"name": "X-Key", "secret": "words"}}, "Token of two words"),
        ({"oauth2": OAUTH2}, "client client and secret s3 c+t"),
    ],
)
async def test_a_host_that_decodes_our_secrets_does_not_bring_them_into_a_message(
    dam: Dam, auth: dict[str, object], said: str
) -> None:
    secrets = {**SECRETS, "empty": "", "words": "Token of two words"}
    dam.answers |= {"/token": grant("access"), "/a": say(said.encode(), 400)}
    found = await get(dam, secrets=secrets, auth=auth)

    assert isinstance(found, Refused)
    assert "**********" in found.text
    assert not any(secret in found.text for secret in ("björn", "pä:ss", "s3", "Token", "two"))


# --- limits --------------------------------------------------------------------------------------


@asynccontextmanager
async def writing(*parts: bytes, ends: bool = True) -> AsyncIterator[Dam]:
    """A server that writes these bytes, the last of them for ever where it does not end."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.writelines(parts)
            while not ends:
                writer.write(parts[-1])
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield Dam(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()


@pytest.mark.parametrize("size", [1024, 1025])
async def test_an_answer_up_to_its_limit(dam: Dam, size: int) -> None:
    dam.answers["/a"] = say(b"x" * size)
    answer = await get(dam, max_bytes=1024)
    assert answer == (Found(b"x" * 1024) if size == 1024 else TooLarge(1024))


async def test_a_bomb_is_bounded(dam: Dam) -> None:
    dam.answers["/a"] = say(gzip.compress(b"0" * 50_000_000), Content_Encoding="gzip")
    tracemalloc.start()
    assert await get(dam, max_bytes=100_000) == TooLarge(100_000)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


async def test_an_answer_without_end_is_bounded() -> None:
    async with writing(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1024, ends=False) as dam:
        assert await get(dam, max_bytes=100_000) == TooLarge(100_000)


async def test_a_large_error_is_the_hosts_trouble(dam: Dam) -> None:
    """The size of an error page says nothing about the asset."""
    dam.answers["/a"] = say(b"x" * 5000, 500)
    assert trouble(await get(dam, max_bytes=1024)).status == 500


async def test_no_more_requests_at_once_than_the_host_takes(dam: Dam) -> None:
    dam.seconds = 0.02
    host = host_of(dam, max_concurrency=3)
    await asyncio.gather(*(host.get(f"/{number}") for number in range(12)))
    await host.close()
    assert dam.at_once_max == 3


async def test_no_more_requests_a_second_than_the_host_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In any second of the clock, spread over it, also where less than one a second may go."""
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += max(0.0, seconds)

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    two_a_second = [0, 0.5, 1, 1.5, 2]
    for rate, times in ((2, two_a_second), (2.5, two_a_second), (0.5, [0, 2, 4, 6, 8])):
        now, pace = 0.0, Pace(1, rate)
        passed: list[float] = []
        for _ in times:
            await pace.turn()
            passed.append(now)
        assert passed == times


# --- faults --------------------------------------------------------------------------------------


async def test_no_answer_in_time(dam: Dam) -> None:
    dam.seconds = 5
    assert "within 0.05 s" in trouble(await get(dam, timeout_seconds=0.05)).message


async def test_an_answer_that_cannot_be_read_is_no_failed_connection(dam: Dam) -> None:
    dam.answers["/a"] = say(b"x", Content_Encoding="gzip")
    found = trouble(await get(dam))

    assert found.sentence("dam") == (
        "The host dam gave an answer that cannot be read: The answer is not valid gzip."
    )


async def test_a_304_is_not_called_a_redirect(dam: Dam) -> None:
    dam.answers["/a"] = say(b"", 304)

    assert trouble(await get(dam)).message == "answered HTTP 304 Not Modified"


async def test_sources_that_share_a_host_wait_no_longer_than_is_counted_on(dam: Dam) -> None:
    dam.seconds = 60
    host = Host.model_validate({"base": dam.url, "allow_private": True, "timeout_seconds": 0.1})
    hosts = HttpDamHosts({"dam": host}, lambda _: "")
    began = time.monotonic()
    await asyncio.gather(*(hosts.get("dam", "/a") for _ in range(5 * host.max_concurrency)))
    waited = time.monotonic() - began
    await hosts.close()

    assert 5 * 0.1 <= waited < read_seconds_max({"dam": host}, 5 * [["dam"]])


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dam = Dam(url=f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert "The connection failed" in trouble(await get(dam)).message


async def test_what_is_no_http() -> None:
    async with writing(b"SSH-2.0-dam\r\n") as dam:
        assert trouble(await get(dam)).status is None


async def test_the_ca_of_the_file_is_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    async with serving(Dam(), tls) as dam:
        assert isinstance(await get(dam, ca_file=str(ca_file)), Found)
        assert "certificate" in trouble(await get(dam)).message.lower()


async def test_a_ca_that_is_not_there_is_said_at_start(dam: Dam) -> None:
    with pytest.raises(SettingsError, match=r"hosts\.dam\.ca_file: /nowhere cannot be read"):
        host_of(dam, ca_file="/nowhere")


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]", "localhost", "169.254.169.254"])
async def test_a_private_address_is_not_connected_to(address: str) -> None:
    """Whatever name it has: a public host must not lead into our network."""
    dam = Dam(url=f"https://{address}")
    found = trouble(await get(dam, allow_private=False))
    assert "which is not public" in found.message


async def test_the_address_that_was_judged_is_the_one_that_is_connected_to(
    dam: Dam, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is resolved twice may be public first and private then."""
    loop = asyncio.get_running_loop()
    stock, asked = loop.getaddrinfo, []

    async def resolve(host: str | None, *rest: Any, **more: Any) -> Any:  # noqa: ANN401 - of asyncio
        asked.append(host)
        return await stock("127.0.0.1" if host == "dam.example" else host, *rest, **more)

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    monkeypatch.setattr("service.adapters.network.first_not_public", lambda _: None)
    dam.url = dam.url.replace("localhost", "dam.example")
    host = Host.model_construct(base=dam.url, max_concurrency=1, max_per_second=9.0)
    client = DamHost("dam", host, lambda name: name)
    assert isinstance(await client.get("/a"), Found)
    await client.close()
    assert asked == ["dam.example"]


# --- all hosts -----------------------------------------------------------------------------------


async def test_each_read_is_counted_for_its_host(dam: Dam) -> None:
    facts: list[Fact] = []

    class Notes:
        def note(self, fact: Fact) -> None:
            facts.append(fact)

    dam.answers["/none"] = say(b"", 404)
    file = {"base": dam.url, "allow_private": True}
    hosts = HttpDamHosts({"dam": Host.model_validate(file)}, lambda name: name, Notes())
    assert await hosts.get("dam", "/none") == NotFound()
    await hosts.close()
    (ended,) = facts
    assert isinstance(ended, ReadEnded)
    assert (ended.host, ended.ended) == ("dam", "not_found")


# --- asset-sync check ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "grade", "said"),
    [
        (200, "ok", "does not refuse the credentials"),
        (302, "ok", "answers"),
        (404, "ok", "answers"),
        (401, "failed", "HTTP 401"),
        (403, "warning", "HTTP 403"),
        (429, "warning", "HTTP 429"),
        (503, "warning", "HTTP 503"),
    ],
)
async def test_a_check_of_a_host(dam: Dam, status: int, grade: str, said: str) -> None:
    dam.answers["/v4/"] = say(b"", status)
    file = {"base": f"{dam.url}/v4", "allow_private": True, "auth": {"bearer": "key"}}
    (finding,) = await check_hosts({"dam": Host.model_validate(file)}, SECRETS.__getitem__)
    assert finding.grade == grade
    assert said in finding.message
    assert [path for path, _, _ in dam.asked] == ["/v4/"]


async def test_a_check_of_a_client(dam: Dam) -> None:
    """Its token URL proves the credentials; if that refuses them, the check fails."""
    dam.answers["/token"] = [grant("T"), say(b"no", 401), say(b"no", 401)]
    text = json.dumps({"base": dam.url, "allow_private": True, "auth": {"oauth2": OAUTH2}})
    host = Host.model_validate_json(text.replace("TOKEN_URL", f"{dam.url}/token"))
    (good,) = await check_hosts({"dam": host}, SECRETS.__getitem__)
    (bad,) = await check_hosts({"dam": host}, SECRETS.__getitem__)
    assert (good.grade, bad.grade) == ("ok", "failed")
    assert "accepts the credentials" in good.message
    assert "gave no token" in bad.message


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"base": "https://127.0.0.1"}, "which is not public"),
        ({"base": "https://x", "ca_file": "/nowhere"}, "hosts.dam.ca_file: /nowhere cannot be"),
        ({"base": "https://x_", "allow_private": True, "auth": {"bearer": "none"}}, "secret none"),
    ],
)
async def test_a_check_that_reaches_nobody(file: dict[str, object], said: str) -> None:
    def read_secret(name: str) -> str:
        raise SettingsError(f"The secret {name} cannot be read.")

    (finding,) = await check_hosts({"dam": Host.model_validate(file)}, read_secret)
    assert finding.grade == "failed"
    assert said in finding.message
    assert finding.remedy
