"""The HTTP client for one PIM: it sends each request once and limits what it reads.

Only the transport of httpx2 is used, because its client would follow redirects, keep cookies, read
netrc and the proxy variables of the environment, and decompress answers of any size.
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
"""Largest answer that is read; the PIM's answer to 100 refused assets has some hundred KiB."""

WORDS_CHARACTERS_MAX = 500
"""Longest text of an error that is kept: a proxy may send a reason of any length."""

_HOST = re.compile(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")

HEADERS = {
    "accept": "application/json",
    "accept-encoding": "identity",
    "user-agent": "asset-sync",
}


class InvalidAnswerError(Exception):
    """The answer is not one that HTTP allows for this request; the message says why."""


class TooLargeError(Exception):
    """The answer has more than `REPLY_BYTES_MAX` bytes."""


class RawReply(NamedTuple):
    """A decompressed answer; header names are in lower case, with the first value of each."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class PimClient:
    """Keeps connections to one PIM open between requests, directly or through a proxy."""

    def __init__(self, pim: PimSettings) -> None:
        """Prepare the client; connections are opened by the first request.

        Raises:
            SettingsError: a URL, a CA or a client certificate in the settings cannot be used.
        """
        url = _url("BASE_URL", pim.base_url)
        self._path = url.raw_path.rstrip(b"/")
        self._headers = HEADERS
        tls = context(f"{PREFIX}PIM__CA_FILE", pim.ca_file)
        show_certificate(tls, f"{PREFIX}PIM__SSL_", pim.ssl_cert_file, pim.ssl_key_file)
        network: Network | Tunnel = Network()
        if pim.proxy_url is not None:
            proxy = _url("PROXY_URL", pim.proxy_url.get_secret_value())
            # The client certificate is for the PIM only, so the proxy gets a context without it.
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
        """Send the request and read its answer; the caller sets the timeout.

        Raises:
            TooLargeError: the answer has more than `REPLY_BYTES_MAX` bytes.
            Exception: there is no answer, or it is not HTTP; `in_words` gives a message.
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
                # The server may not have read the body, and then resets the connection later.
                await answer.extensions["network_stream"].aclose()

    async def close(self) -> None:
        await self._transport.aclose()


def in_words(error: Exception) -> str:
    """Return a message about an error of the connection or the proxy."""
    words = (str(error) or type(error).__name__)[:WORDS_CHARACTERS_MAX]
    if isinstance(error, httpx2.ProxyError):
        return f"The proxy refused the request: {words}."
    return f"The connection failed: {words}"


async def _read(answer: httpx2.Response) -> RawReply:
    if answer.status_code < 200:
        raise InvalidAnswerError(f"The answer is an unexpected HTTP {answer.status_code}.")
    headers: dict[str, str] = {}
    for name, value in answer.headers.raw:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    compressed = bytearray()
    async for part in answer.aiter_raw():
        compressed += part
        if len(compressed) > REPLY_BYTES_MAX:
            raise TooLargeError
    return RawReply(answer.status_code, headers, _decompressed(compressed, answer.headers))


def _decompressed(body: bytearray, headers: httpx2.Headers) -> bytes:
    """Return the body, decompressed if it is compressed with gzip.

    The request accepts no compression, but some proxies compress all the same. Other codings than
    gzip, or several, are not known from practice and are refused.
    """
    codings = [
        value.strip().lower()
        for name, all_values in headers.raw
        if name.lower() == b"content-encoding"
        for value in all_values.split(b",")
    ]
    match [coding for coding in codings if coding not in {b"", b"identity"}]:
        case []:
            return bytes(body)
        case [b"gzip" | b"x-gzip"]:
            return _without_gzip(body) if body else b""
        case found:
            names = b", ".join(found).decode("ascii", "replace")
            raise InvalidAnswerError(f"The answer is compressed ({names}), which was not accepted.")


def _without_gzip(compressed: bytearray) -> bytes:
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = decompressor.decompress(compressed, REPLY_BYTES_MAX + 1)
    except zlib.error as error:
        raise InvalidAnswerError("The answer is not valid gzip.") from error
    if len(body) > REPLY_BYTES_MAX:
        raise TooLargeError
    if not decompressor.eof or decompressor.unused_data:
        raise InvalidAnswerError("The answer is not valid gzip.")
    return body


def _url(name: str, text: str) -> httpx2.URL:
    try:
        url = httpx2.URL(text)
        host = url.raw_host.decode("ascii")
        host.encode("idna")  # the system's resolver does the same
    except (httpx2.InvalidURL, UnicodeError) as error:
        message = f"{PREFIX}PIM__{name} is not a valid URL: {error}"
        raise SettingsError(message) from None
    if not _HOST.fullmatch(host):
        raise SettingsError(f"{PREFIX}PIM__{name} is not a valid URL: {host!r} is not a host name.")
    return url


def _host(url: httpx2.URL) -> str:
    return url.netloc.decode("ascii")
