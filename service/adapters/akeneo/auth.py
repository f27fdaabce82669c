"""Tokens of the PIM (akeneo.md §1): the renewal as a flow that a test drives by hand.

`renewal` yields each token request, is sent the answer, and returns the token:

    flow = renewal(credentials, old_token)
    request = next(flow)
    request = flow.send((status, reply))   # … until StopIteration carries the token

Errors: `RefusedError` (the credentials), `NoTokenError` (anything else; it carries the answer).
"""

import base64
from collections.abc import Generator
from dataclasses import dataclass

import msgspec

from service.adapters.akeneo.wire import TOKEN_PATH, HttpRequest
from service.core.inputs import CallReply
from service.settings import Credentials, is_visible_ascii

RENEW_SHARE = 0.9
"""Share of its lifetime after which a token is renewed, before it runs out under a call."""


TOKEN_CHARACTERS_MAX = 16 * 1024
"""Far more than any token has; it stands in a header of each request."""


class RefusedError(Exception):
    """The PIM refused our credentials; the message is the PIM's."""


class NoTokenError(Exception):
    """No token came: the PIM throttles, fails or does not answer as itself."""

    def __init__(self, reply: CallReply) -> None:
        super().__init__(reply.message)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Token:
    """What opens the API. Seconds; `expires_in` None: until it is revoked."""

    access: str
    refresh: str | None = None
    expires_in: float | None = None

    def __repr__(self) -> str:
        """Nothing of it."""
        return "Token(**********)"

    @property
    def renew_in(self) -> float | None:
        """Seconds after which to renew it."""
        return None if self.expires_in is None else self.expires_in * RENEW_SHARE


@dataclass(frozen=True, slots=True)
class TokenReply:
    """The answer of the token endpoint: its body, and how a call's answer would read it."""

    body: bytes
    reply: CallReply


class _Grant(msgspec.Struct):
    access_token: str
    expires_in: float | None = None
    refresh_token: str | None = None


Flow = Generator[tuple[HttpRequest, str], TokenReply, Token]
"""Yields the request and its Authorization header."""


def renewal(credentials: Credentials, refresh_token: str | None) -> Flow:
    """Refresh; on 422 the password grant; minimal bodies (§1.2: larger ones are refused).

    Raises:
        RefusedError: the PIM does not accept the credentials.
        NoTokenError: it gave no token for another reason.
    """
    pair = f"{credentials.client_id}:{credentials.client_secret}".encode()
    authorization = "Basic " + base64.b64encode(pair).decode("ascii")
    if refresh_token:
        grant = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        answer = yield _token_request(grant), authorization
        if answer.reply.status not in {400, 401, 422}:
            return _read(answer)
    grant = {
        "grant_type": "password",
        "username": credentials.username,
        "password": credentials.password,
    }
    answer = yield _token_request(grant), authorization
    if answer.reply.status in {400, 401, 403, 422}:
        raise RefusedError(answer.reply.message or f"HTTP {answer.reply.status}")
    return _read(answer)


def _token_request(grant: dict[str, str]) -> HttpRequest:
    return HttpRequest("POST", TOKEN_PATH, msgspec.json.encode(grant), route="token")


def _read(answer: TokenReply) -> Token:
    if answer.reply.status != 200:
        raise NoTokenError(answer.reply)
    try:
        grant = msgspec.json.decode(answer.body, type=_Grant, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoTokenError(answer.reply) from error
    if not is_visible_ascii(grant.access_token) or len(grant.access_token) > TOKEN_CHARACTERS_MAX:
        raise NoTokenError(answer.reply)
    return Token(grant.access_token, grant.refresh_token, grant.expires_in)
