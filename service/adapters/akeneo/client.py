"""HTTP with one PIM, by httpx2: a request leaves once, and its answer is read within bounds.

Only httpx2's transport is used: what its client would add (redirects, cookies, netrc, proxies of
the environment, unpacking) is what must not happen here.
"""

import re
import zlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import httpx2

from service.adapters.akeneo.network import Network, Transport, Tunnel, proxy_authorization
from service.adapters.akeneo.wire import HttpRequest
from service.adapters.tls import context, show_certificate
from service.settings import PREFIX, PimSettings, SettingsError

REPLY_BYTES_MAX = 16 * 1024 * 1024
"""A bulk answer of 100 refusals has some hundred KiB; what is larger is not the PIM's."""

WORDS_CHARACTERS_MAX = 500
"""Of an error's text: a proxy's reason may have any length."""

_HOST = re.compile(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")

HEADERS = {
    "accept": "application/json",
    "accept-encoding": "identity",
    "user-agent": "asset-sync",
}


class OddAnswerError(Exception):
    """An answer that cannot be taken for one; in words."""


class TooLargeError(Exception):
    """The answer exceeds `REPLY_BYTES_MAX`."""


class RawReply(NamedTuple):
    """An answer as it came, unpacked; names of headers in lower case, the first of each."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class PimClient:
    """Keeps connections to one PIM open between requests, straight or through a proxy."""

    def __init__(self, pim: PimSettings) -> None:
        """Nothing is opened yet.

        Raises:
            SettingsError: a URL cannot be called, or a file of TLS cannot be used.
        """
        url = _url("BASE_URL", pim.base_url)
        self._path = url.raw_path.rstrip(b"/")
        self._headers = HEADERS
        tls = context(f"{PREFIX}PIM__CA_FILE", pim.ca_file)
        show_certificate(tls, f"{PREFIX}PIM__SSL_", pim.ssl_cert_file, pim.ssl_key_file)
        network: Network | Tunnel = Network()
        if pim.proxy_url is not None:
            proxy = _url("PROXY_URL", pim.proxy_url.get_secret_value())
            # The client's certificate is for the PIM alone.
            tls_of_proxy = context(f"{PREFIX}PIM__CA_FILE", pim.ca_file)
            if url.scheme == "https":
                network = Tunnel(proxy, tls_of_proxy)
            else:
                tls = tls_of_proxy
                self._headers = {"host": _host(url), **HEADERS, **proxy_authorization(proxy)}
                self._path = b"http://" + _host(url).encode("ascii") + self._path
                url = proxy.copy_with(userinfo=b"")
        self._url = url.copy_with(raw_path=b"/")
        self._transport = Transport(tls, network)

    async def exchange(self, written: HttpRequest, authorization: str) -> RawReply:
        """Send the request, read its answer; how long it may take is the caller's.

        Raises:
            TooLargeError: it exceeds `REPLY_BYTES_MAX`.
            Exception: no answer came, or none that is HTTP; `in_words` tells.
        """
        headers = {**self._headers, "authorization": authorization}
        if written.body is not None:
            headers["content-type"] = "application/json"
        request = httpx2.Request(
            written.method,
            self._url,
            headers=headers,
            content=written.body,
            extensions={"target": self._path + written.path.encode("ascii")},
        )
        answer = await self._transport.handle_async_request(request)
        try:
            return await _read(answer)
        finally:
            await answer.aclose()
            if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                # Whoever did not read the body may reset the connection under the next request.
                await answer.extensions["network_stream"].aclose()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


def in_words(error: Exception) -> str:
    """What went wrong, for a person."""
    words = (str(error) or type(error).__name__)[:WORDS_CHARACTERS_MAX]
    if isinstance(error, httpx2.ProxyError):
        return f"The proxy refuses: {words}."
    return f"The connection failed: {words}"


async def _read(answer: httpx2.Response) -> RawReply:
    if answer.status_code < 200:
        raise OddAnswerError(f"The answer is HTTP {answer.status_code}, which nobody asked for.")
    headers: dict[str, str] = {}
    for name, value in answer.headers.raw:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    packed = bytearray()
    async for part in answer.aiter_raw():
        packed += part
        if len(packed) > REPLY_BYTES_MAX:
            raise TooLargeError
    return RawReply(answer.status_code, headers, _unpacked(packed, answer.headers))


def _unpacked(packed: bytearray, headers: httpx2.Headers) -> bytes:
    """The body, where something on the way packed it although nobody asked for that.

    Packed twice, or otherwise than by gzip, it is not worth the code.
    """
    codings = [
        value.strip().lower()
        for name, all_values in headers.raw
        if name.lower() == b"content-encoding"
        for value in all_values.split(b",")
    ]
    match [coding for coding in codings if coding not in {b"", b"identity"}]:
        case []:
            return bytes(packed)
        case [b"gzip" | b"x-gzip"]:
            return _without_gzip(packed) if packed else b""
        case found:
            names = b", ".join(found).decode("ascii", "replace")
            raise OddAnswerError(f"The answer is packed as {names}, which nobody asked for.")


def _without_gzip(packed: bytearray) -> bytes:
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = unpacking.decompress(packed, REPLY_BYTES_MAX + 1)
    except zlib.error as error:
        raise OddAnswerError("The answer is not packed as it says.") from error
    if len(body) > REPLY_BYTES_MAX:
        raise TooLargeError
    if not unpacking.eof or unpacking.unused_data:
        raise OddAnswerError("The answer is not packed as it says.")
    return body


def _url(name: str, text: str) -> httpx2.URL:
    try:
        url = httpx2.URL(text)
        host = url.raw_host.decode("ascii")
        host.encode("idna")  # as the system's resolver will take it
    except (httpx2.InvalidURL, UnicodeError) as error:
        message = f"{PREFIX}PIM__{name} cannot be called: {error}"
        raise SettingsError(message) from None
    if not _HOST.fullmatch(host):
        raise SettingsError(f"{PREFIX}PIM__{name} cannot be called: {host!r} is not a host's name")
    return url


def _host(url: httpx2.URL) -> str:
    return url.netloc.decode("ascii")
