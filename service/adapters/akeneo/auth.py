"""Tokens of the PIM (akeneo.md §1), without I/O: tests drive the flow by hand.

`renewal` is a generator. It yields each token request, is sent the answer, and returns the token:

    flow = renewal(credentials, refresh_token)
    request, authorization = next(flow)
    request, authorization = flow.send(reply)   # … until StopIteration carries the token
"""

import base64
from collections.abc import Generator
from dataclasses import dataclass

import msgspec

from service.adapters.akeneo.wire import HttpRequest
from service.adapters.tokens import TOKEN_CHARACTERS_MAX, Token
from service.contracts.json_flaw import UNREADABLE
from service.core.inputs import CallReply
from service.settings import Credentials, is_visible_ascii

TOKEN_PATH = "/api/oauth/v1/token"  # noqa: S105 - a path


class RefusedError(Exception):
    """The PIM refused the credentials; the message is the PIM's."""


class NoTokenError(Exception):
    """The PIM gave no token: it throttles or fails, or something else answered. Has the answer."""

    def __init__(self, reply: CallReply) -> None:
        super().__init__(reply.message)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class TokenReply:
    """The answer of the token endpoint: its body, and the answer as `read_reply` reads it."""

    body: bytes
    reply: CallReply


class _Grant(msgspec.Struct):
    access_token: str
    expires_in: float | None = None
    refresh_token: str | None = None


Flow = Generator[tuple[HttpRequest, str], TokenReply, Token]
"""The flow yields a request and its Authorization header."""


def renewal(credentials: Credentials, refresh_token: str | None) -> Flow:
    """Get a token with the refresh token or, if that is refused, with the password.

    Bodies are minimal, because the PIM refuses larger ones (akeneo.md §1.2).

    Raises:
        RefusedError: the PIM refuses the credentials.
        NoTokenError: the PIM gave no token for another reason.
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
    except UNREADABLE as error:
        raise NoTokenError(answer.reply) from error
    if not is_visible_ascii(grant.access_token) or len(grant.access_token) > TOKEN_CHARACTERS_MAX:
        raise NoTokenError(answer.reply)
    return Token(grant.access_token, grant.refresh_token, grant.expires_in)
