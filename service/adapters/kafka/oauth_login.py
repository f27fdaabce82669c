"""The login to Kafka with tokens of OAuth 2.0 (SASL/OAUTHBEARER, RFC 7628).

Seam: `aiokafka.conn.OAuthAuthenticator`. aiokafka 0.14 takes a refused token for accepted: the
broker says why in its answer, and fails the login only when the client has answered that.
"""

import asyncio
import dataclasses
import time

import httpx2
from aiokafka import conn
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from service.adapters.http_client import RawReply, exchange, in_words, status_text, url_of
from service.adapters.network import Network
from service.adapters.oauth import TOKEN_BYTES_MAX, NoTokenError, client_credentials, fetch_token
from service.adapters.tls import context
from service.adapters.tokens import Token, TokenKeeper
from service.adapters.transport import Transport
from service.settings import PREFIX, KafkaSettings

ANSWER_SECONDS_MAX = 10.0
"""How long the token URL may take to answer: meanwhile its client opens no other connection."""
UNSAID_LIFETIME_SECONDS = 60.0
"""How long a token is used of which the token URL does not say when it ends."""
PAUSE_SECONDS = 2.0
"""How long the token URL is left alone after a failure; aiokafka tries ten times a second."""

_URL = f"{PREFIX}KAFKA__SASL_TOKEN_URL"
_REFUSED = frozenset({400, 401, 403})


class NoKafkaTokenError(KafkaError):  # type: ignore[misc]
    """There is no token to log in to Kafka with; the message says why."""

    retriable = True


class ClientRefusedError(NoKafkaTokenError):
    """The token URL refuses the client or its secret."""


class TokenLogin(AbstractTokenProvider):  # type: ignore[misc]
    """Gives a client of Kafka the token for each connection that it opens."""

    def __init__(self, kafka: KafkaSettings) -> None:
        """Prepare the login; the first connection fetches a token.

        Raises:
            SettingsError: the token URL or the private CA cannot be used.
        """
        assert kafka.sasl_token_url is not None
        assert kafka.sasl_username is not None
        assert kafka.sasl_password is not None
        self._url = url_of(_URL, kafka.sasl_token_url)
        self._tls = context(f"{PREFIX}KAFKA__SSL_CA_FILE", kafka.ssl_ca_file)
        self._client = kafka.sasl_username, kafka.sasl_password, kafka.sasl_scope
        self._extensions = kafka.sasl_extension_values
        self._tokens = TokenKeeper()
        self._failure: NoKafkaTokenError | None = None
        self._asks_at = 0.0
        """When the token URL may be asked again, in seconds of the monotonic clock."""

    async def token(self) -> str:
        """Return a token that is still valid for a tenth of its life.

        Raises:
            NoKafkaTokenError: the token URL gives none.
        """
        return (await self._tokens.get(self._fetch)).access

    def extensions(self) -> dict[str, str]:
        """Return what the login says besides the token (RFC 7628, 3.1)."""
        return self._extensions

    async def _fetch(self) -> Token:
        if time.monotonic() < self._asks_at:
            assert self._failure is not None
            raise self._failure
        client_id, secret, scope = self._client
        flow = client_credentials(client_id, secret.get_secret_value(), scope)
        try:
            return _with_an_end(await fetch_token(flow, self._url, self._send))
        except Exception as error:  # noqa: BLE001 - no error of a library may end the service
            self._failure = self._fault(error)
        self._asks_at = time.monotonic() + PAUSE_SECONDS
        raise self._failure

    async def _send(self, request: httpx2.Request) -> RawReply:
        transport = Transport(self._tls, Network())
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return await exchange(transport, request, TOKEN_BYTES_MAX)
        finally:
            await transport.aclose()

    def _fault(self, error: Exception) -> NoKafkaTokenError:
        """Say why there is no token, without the answer's body, which may hold one all the same."""
        match error:
            case NoTokenError() if error.reply.status in _REFUSED:
                return ClientRefusedError(
                    f"{_URL} refuses the client {self._client[0]} "
                    f"({status_text(error.reply.status)}): check {PREFIX}KAFKA__SASL_USERNAME, "
                    "__SASL_PASSWORD and __SASL_SCOPE."
                )
            case NoTokenError():
                return NoKafkaTokenError(
                    f"{_URL} gives no token ({status_text(error.reply.status)})."
                )
            case TimeoutError():
                return NoKafkaTokenError(f"{_URL} does not answer within {ANSWER_SECONDS_MAX:g} s.")
            case _:
                return NoKafkaTokenError(f"{_URL} cannot be asked. {in_words(error)}")


def _with_an_end(token: Token) -> Token:
    """Return a token that will be renewed: brokers refuse it once it has ended."""
    says_when = token.expires_in is not None and token.expires_in > 0
    return token if says_when else dataclasses.replace(token, expires_in=UNSAID_LIFETIME_SECONDS)


class _Authenticator(conn.OAuthAuthenticator):  # type: ignore[misc]
    """Answers the broker's reason for refusing a token (RFC 7628, 3.2.3)."""

    _has_answered = False

    async def step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        """Return the next message to the broker, and that it is answered; None after the last."""
        if payload and not self._has_answered:
            self._has_answered = True
            return b"\x01", True
        step: tuple[bytes, bool] | None = await super().step(payload)
        return step


conn.OAuthAuthenticator = _Authenticator
