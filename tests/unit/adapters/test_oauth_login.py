"""The login to Kafka with tokens of OAuth 2.0, against a token URL on loopback."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import conn

from service.adapters.kafka import oauth_login
from service.adapters.kafka.errors import describe
from service.adapters.kafka.oauth_login import ClientRefusedError, NoKafkaTokenError, TokenLogin
from service.adapters.kafka.options import connection, security
from service.settings import KafkaSettings
from tests.support.token_server import CLIENT_SECRET, TokenServer, token_server


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    """Yield a token URL."""
    async with token_server() as made:
        yield made


def kafka(server: TokenServer, **others: str) -> KafkaSettings:
    """Return the settings of a client that knows the secret."""
    login = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_username": "asset-sync",
        "sasl_password": CLIENT_SECRET,
        "sasl_token_url": server.url,
    }
    return KafkaSettings.model_validate(login | others)


async def test_connections_share_a_token_until_most_of_its_life_is_over(
    server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reconnect of each client must not ask the token URL again."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    login = TokenLogin(kafka(server, sasl_scope="kafka"))
    tokens = {await login.token() for _ in range(3)}
    assert len(tokens) == len(server.forms) == 1
    assert server.forms[0] == {
        "grant_type": "client_credentials",
        "client_id": "asset-sync",
        "client_secret": CLIENT_SECRET,
        "scope": "kafka",
    }
    clock[0] += 0.9 * server.lifetime_seconds
    assert await login.token() not in tokens


@pytest.mark.parametrize("says", [None, 0, -1, "nan", "60"])
async def test_a_token_whose_end_is_not_said_is_renewed(
    server: TokenServer, says: float | str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker would refuse the same token for ever after its end."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    server.expires_in = says
    login = TokenLogin(kafka(server))
    for _ in range(3):
        await login.token()
    assert len(server.forms) == 1
    clock[0] += oauth_login.UNSAID_LIFETIME_SECONDS
    await login.token()
    assert len(server.forms) == 2


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, None, "refuses the client asset-sync (HTTP 401 Unauthorized): check ASSET_SYNC_"),
        (400, None, "refuses the client asset-sync (HTTP 400 Bad Request)"),
        (503, None, "gives no token (HTTP 503 Service Unavailable)"),
        (200, CLIENT_SECRET, "gives no token (HTTP 200 OK)"),
        (200, '{"access_token": "a\\u0001b"}', "gives no token (HTTP 200 OK)"),
    ],
)
async def test_an_answer_without_a_token(
    server: TokenServer, status: int, body: str | None, said: str
) -> None:
    """The message says what to do, without the answer; the client's secret may be in that."""
    server.status, server.body = status, body
    settings = kafka(server)
    with pytest.raises(NoKafkaTokenError) as caught:
        await TokenLogin(settings).token()
    assert said in describe(caught.value, settings)
    assert CLIENT_SECRET not in str(caught.value)
    assert isinstance(caught.value, ClientRefusedError) is (status in {400, 401})


async def test_a_token_url_that_does_not_answer(
    server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection must not wait for it for ever, nor end with an error that aiokafka lets pass."""
    monkeypatch.setattr(oauth_login, "ANSWER_SECONDS_MAX", 0.05)
    open_ones: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, one: open_ones.append(one), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/token"
    async with silent:
        with pytest.raises(NoKafkaTokenError, match=r"does not answer within 0\.05 s"):
            await TokenLogin(kafka(server, sasl_token_url=url)).token()
        for one in open_ones:
            one.close()
    with pytest.raises(NoKafkaTokenError, match=r"cannot be asked\. The connection failed"):
        await TokenLogin(kafka(server, sasl_token_url=url)).token()


async def test_a_token_url_in_trouble_is_left_alone(
    server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client opens a connection ten times a second while it has none."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    server.status = 503
    login = TokenLogin(kafka(server))
    for _ in range(20):
        with pytest.raises(NoKafkaTokenError, match="503"):
            await login.token()
    assert len(server.forms) == 1
    server.status = 200
    clock[0] += oauth_login.PAUSE_SECONDS
    assert await login.token()


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
async def test_every_client_logs_in_with_tokens(server: TokenServer, protocol: str) -> None:
    """FastStream's consumer takes the login beside its security, aiokafka's clients with it."""
    settings = kafka(server, security_protocol=protocol)
    for options in (connection(settings), security(settings)):
        assert isinstance(options["sasl_oauth_token_provider"], TokenLogin)
        assert "sasl_plain_password" not in options


async def test_extensions_follow_the_token(server: TokenServer) -> None:
    """Some managed clusters ask by them which cluster the login is for."""
    login = TokenLogin(kafka(server, sasl_extensions="logicalCluster=lkc-1,identityPoolId=pool-2"))
    message, _ = await conn.OAuthAuthenticator(sasl_oauth_token_provider=login).step(None)
    end = b"\x01logicalCluster=lkc-1\x01identityPoolId=pool-2\x01\x01"
    assert message == b"n,,\x01auth=Bearer " + (await login.token()).encode() + end


async def test_a_refused_token_is_not_taken_for_an_accepted_one(server: TokenServer) -> None:
    """The broker fails the login only when its reason is answered (RFC 7628, 3.2.3)."""
    for reason, answers in (
        (b"", [None]),
        (b'{"status":"invalid_token"}', [(b"\x01", True), None]),
    ):
        login = conn.OAuthAuthenticator(sasl_oauth_token_provider=TokenLogin(kafka(server)))
        first, _ = await login.step(None)
        assert first.startswith(b"n,,\x01auth=Bearer ")
        assert [await login.step(reason) for _ in answers] == answers
