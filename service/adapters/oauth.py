"""Tokens of OAuth 2.0 for a client: of the DAMs' APIs, and for the login to Kafka.

The flow itself is without I/O, so that tests drive it by hand. `client_credentials` is a generator.
It yields each token request, is sent the answer, and returns the token:

    flow = client_credentials(client_id, client_secret, scope)
    request = next(flow)
    request = flow.send(reply)   # … until StopIteration carries the token
"""

import base64
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from urllib.parse import quote_plus, urlencode

import httpx2
import msgspec

from service.adapters.http_client import HEADERS, RawReply
from service.adapters.tokens import TOKEN_CHARACTERS_MAX, Token
from service.contracts.json_flaw import UNREADABLE
from service.settings import is_visible_ascii

TOKEN_BYTES_MAX = 64 * 1024
"""Largest answer of a token URL that is read."""

_REFUSED = frozenset({400, 401})
"""Statuses by which a server refuses a client or the way it shows its secret (RFC 6749, 5.2)."""


class NoTokenError(Exception):
    """The token URL gave no token; has its answer."""

    def __init__(self, reply: RawReply) -> None:
        super().__init__(f"HTTP {reply.status}")
        self.reply = reply


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The form to send to the token URL, and its Authorization header, if it has one."""

    form: bytes
    authorization: str | None = None

    def __repr__(self) -> str:
        # A log or a traceback may show this object.
        return "TokenRequest(**********)"


class _Grant(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


Flow = Generator[TokenRequest, RawReply, Token]


def client_credentials(client_id: str, client_secret: str, scope: str | None) -> Flow:
    """Get a token for a client (RFC 6749, 4.4).

    The secret goes in the form, as the DAMs' own manuals have it; a server that refuses this is
    shown it in a header.

    Raises:
        NoTokenError: the server gave no token.
    """
    grant = {"grant_type": "client_credentials"}
    if scope is not None:
        grant["scope"] = scope
    client = {"client_id": client_id, "client_secret": client_secret}
    reply = yield TokenRequest(urlencode(grant | client).encode())
    if reply.status in _REFUSED:
        pair = basic(quote_plus(client_id), quote_plus(client_secret))
        reply = yield TokenRequest(urlencode(grant).encode(), pair)
    return _read(reply)


def basic(username: str, password: str) -> str:
    """Return the value of an Authorization header with a name and a password."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


async def fetch_token(
    flow: Flow, url: httpx2.URL, send: Callable[[httpx2.Request], Awaitable[RawReply]]
) -> Token:
    """Send the requests of the flow to the token URL, and return the token.

    Raises:
        NoTokenError: the server gave no token.
        Exception: what `send` raises.
    """
    request = next(flow)
    while True:
        headers = {**HEADERS, "content-type": "application/x-www-form-urlencoded"}
        if request.authorization is not None:
            headers["authorization"] = request.authorization
        sent = httpx2.Request("POST", url, headers=headers, content=request.form)
        try:
            request = flow.send(await send(sent))
        except StopIteration as done:
            token: Token = done.value
            return token


def _read(reply: RawReply) -> Token:
    if reply.status != 200:
        raise NoTokenError(reply)
    try:
        grant = msgspec.json.decode(reply.body, type=_Grant, strict=False)
    except UNREADABLE as error:
        raise NoTokenError(reply) from error
    if not is_visible_ascii(grant.access_token) or len(grant.access_token) > TOKEN_CHARACTERS_MAX:
        raise NoTokenError(reply)
    return Token(grant.access_token, expires_in=grant.expires_in)
