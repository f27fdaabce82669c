"""One host of the sources file: a GET with its credentials, within its limits.

It does not retry (a 401 excepted, which renews the credentials once) and does not judge.
Redirects are not followed, and no proxy of the environment is used, because the credentials are for
this host alone.
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import httpx2

from service.adapters.http_client import (
    HEADERS,
    InvalidAnswerError,
    RawReply,
    TooLargeError,
    exchange,
    in_words,
    url_of,
)
from service.adapters.network import Network, PublicNetwork
from service.adapters.oauth import (
    TOKEN_BYTES_MAX,
    NoTokenError,
    client_credentials,
    fetch_token,
)
from service.adapters.readback.answers import read_answer, trouble
from service.adapters.readback.auth import ReadSecret, fixed_headers
from service.adapters.readback.pace import Pace
from service.adapters.tls import context
from service.adapters.tokens import Token, TokenKeeper
from service.adapters.transport import Transport
from service.contracts.text import DOT_SEGMENTS
from service.mapping.file.hosts import Host, OAuth2
from service.settings import SettingsError
from service.translation.read_answers import HostTrouble, ReadAnswer, Refused, TooLarge

_SLASHES = re.compile(r"/|\\|%2f|%5c")
"""What separates the parts of a path for one server or another, in lower case."""

_URL_CHARACTERS = "!$%&'()*+,/:;=?@[]~-._"
"""What stands in a URL as it is; `%` too, because placeholders are encoded already."""


class DamHost:
    """Keeps connections to one host open between requests."""

    def __init__(self, name: str, host: Host, read_secret: ReadSecret) -> None:
        """Prepare the client; connections are opened by the first request.

        Raises:
            SettingsError: the host's URL or its CA cannot be used.
        """
        self._host = host
        self._read_secret = read_secret
        self._base = url_of(f"hosts.{name}.base", host.base)
        self._path = self._base.raw_path.rstrip(b"/")
        tls = context(f"hosts.{name}.ca_file", Path(host.ca_file) if host.ca_file else None)
        self._transport = Transport(tls, Network() if host.allow_private else PublicNetwork())
        self._pace = Pace(host.max_concurrency, host.max_per_second)
        self._tokens = TokenKeeper()
        self._oauth2 = host.auth.oauth2 if host.auth is not None else None
        if self._oauth2 is not None:
            self._token_url = url_of(f"hosts.{name}.auth.oauth2.token_url", self._oauth2.token_url)

    async def get(self, url: str) -> ReadAnswer:
        """Read the asset at this URL, which is relative to the host's base."""
        path = quote(url if url.startswith("/") else f"/{url}", safe=_URL_CHARACTERS)
        if _has_dot_segment(path):
            return Refused(None, "A part of the URL's path that is `.` or `..` is not sent.")
        try:
            async with self._pace.slots:
                return await self._get(path)
        except NoTokenError as error:
            return _without_token(error)
        except SettingsError as error:
            return HostTrouble(f"cannot be asked: {error}")
        except TimeoutError:
            return HostTrouble(f"did not answer within {self._host.timeout_seconds:g} s")
        except InvalidAnswerError as error:
            return HostTrouble(f"gave an answer that cannot be read: {error}")
        except Exception as error:  # noqa: BLE001 - no error of a library may end the service
            return HostTrouble(f"cannot be asked. {in_words(error)}")

    async def close(self) -> None:
        await self._transport.aclose()

    async def _get(self, path: str) -> ReadAnswer:
        """Send the GET; after a 401, renew the credentials and send it once more."""
        headers, token = await self._authorization()
        answer = await self._exchange(path, headers)
        if not (isinstance(answer, HostTrouble) and answer.status == HTTPStatus.UNAUTHORIZED):
            return answer
        if token is not None:
            self._tokens.drop(token)
        renewed, _ = await self._authorization()
        return answer if renewed == headers else await self._exchange(path, renewed)

    async def _exchange(self, path: str, headers: Mapping[str, str]) -> ReadAnswer:
        request = httpx2.Request(
            "GET",
            self._base.copy_with(raw_path=b"/"),
            headers={**HEADERS, **headers},
            extensions={"target": self._path + path.encode("ascii")},
        )
        try:
            raw = await self._send(request, self._host.max_bytes)
            hidden = () if raw.status == HTTPStatus.OK else self._hidden(headers)
            return read_answer(raw, hidden)
        except TooLargeError as error:
            if error.head.status == HTTPStatus.OK:
                return TooLarge(self._host.max_bytes)
            return read_answer(error.head)

    async def _send(self, request: httpx2.Request, bytes_max: int) -> RawReply:
        await self._pace.turn()
        async with asyncio.timeout(self._host.timeout_seconds):
            return await exchange(self._transport, request, bytes_max)

    # --- credentials -------------------------------------------------------------------------

    async def _authorization(self) -> tuple[Mapping[str, str], Token | None]:
        """Return the headers that authorise a request, and the token that they show, if any."""
        oauth2 = self._oauth2
        if oauth2 is None:
            return fixed_headers(self._host.auth, self._read_secret), None
        token = await self._tokens.get(lambda: self._fetch_token(oauth2))
        return {"authorization": f"Bearer {token.access}"}, token

    def _hidden(self, headers: Mapping[str, str]) -> list[str]:
        """Return what no message may show: the credentials as they were sent, and as they are kept.

        A host may decode them and repeat the password alone. The longest come first, because one
        may be a part of another.
        """
        hidden = {value.split()[-1] for value in headers.values()}
        for name in self._host.auth.secrets if self._host.auth is not None else ():
            with contextlib.suppress(SettingsError):
                hidden.add(self._read_secret(name))
        return sorted(hidden - {""}, key=len, reverse=True)

    async def _fetch_token(self, oauth2: OAuth2) -> Token:
        client_id = self._read_secret(oauth2.client_id)
        client_secret = self._read_secret(oauth2.client_secret)
        flow = client_credentials(client_id, client_secret, oauth2.scope)
        return await fetch_token(
            flow, self._token_url, lambda request: self._send(request, TOKEN_BYTES_MAX)
        )


def _without_token(error: NoTokenError) -> HostTrouble:
    """Return the trouble of a host whose token URL gave no token, without the answer's body.

    An answer that is not understood may hold a token all the same.
    """
    found = trouble(RawReply(error.reply.status, error.reply.headers, b""))
    message = f"gave no token: its token URL {found.message}"
    return HostTrouble(message, found.status, found.retry_after_seconds)


def _has_dot_segment(path: str) -> bool:
    """Return whether a server or proxy may resolve a part of the path to another resource.

    Some decode %2F and %5C before they do, and some take a backslash for a slash.
    """
    decoded = path.partition("?")[0].lower().replace("%2e", ".")
    return not DOT_SEGMENTS.isdisjoint(_SLASHES.split(decoded))
