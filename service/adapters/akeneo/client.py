"""The HTTP client for one PIM: it sends each request once and limits what it reads."""

import httpx2

from service.adapters.akeneo.multipart import Multipart, multipart
from service.adapters.akeneo.wire import HttpRequest
from service.adapters.http_client import (
    HEADERS,
    RawReply,
    TakePart,
    exchange,
    exchange_in_parts,
    url_of,
)
from service.adapters.network import Network, Tunnel, proxy_authorization
from service.adapters.tls import context, show_certificate
from service.adapters.transport import Transport
from service.ports import StoredFiles
from service.settings import PREFIX, PimSettings

REPLY_BYTES_MAX = 16 * 1024 * 1024
"""Largest answer that is read; the PIM's answer to 100 refused assets has some hundred KiB."""


class PimClient:
    """Keeps connections to one PIM open between requests, directly or through a proxy."""

    def __init__(self, pim: PimSettings, files: StoredFiles | None = None) -> None:
        """Prepare the client; connections are opened by the first request.

        Args:
            pim: how the PIM is reached.
            files: the files that may be uploaded.

        Raises:
            SettingsError: a URL, a CA or a client certificate in the settings cannot be used.
        """
        url = url_of(f"{PREFIX}PIM__BASE_URL", pim.base_url)
        self._path = url.raw_path.rstrip(b"/")
        self._headers = HEADERS
        tls = context(f"{PREFIX}PIM__CA_FILE", pim.ca_file)
        show_certificate(tls, f"{PREFIX}PIM__SSL_", pim.ssl_cert_file, pim.ssl_key_file)
        network: Network | Tunnel = Network()
        if pim.proxy_url is not None:
            proxy = url_of(f"{PREFIX}PIM__PROXY_URL", pim.proxy_url.get_secret_value())
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
        self._files = files

    async def exchange(self, written: HttpRequest, authorization: str) -> RawReply:
        """Send the request and read its answer; the caller sets the timeout.

        Raises:
            TooLargeError: the answer has more than `REPLY_BYTES_MAX` bytes.
            FileLostError: the file that is to be uploaded cannot be read from disk.
            Exception: there is no answer, or it is not HTTP; `in_words` gives a message.
        """
        return await exchange(
            self._transport, await self._request(written, authorization), REPLY_BYTES_MAX
        )

    async def exchange_in_parts(
        self, written: HttpRequest, authorization: str, take: TakePart
    ) -> RawReply:
        """Send the request, and pass the body of a 200 on as it comes.

        Raises:
            Exception: there is no answer, or it is not HTTP; `in_words` gives a message.
        """
        request = await self._request(written, authorization)
        return await exchange_in_parts(self._transport, request, take, REPLY_BYTES_MAX)

    async def close(self) -> None:
        await self._transport.aclose()

    async def _request(self, written: HttpRequest, authorization: str) -> httpx2.Request:
        headers = {**self._headers, "authorization": authorization}
        content: bytes | Multipart | None = written.body
        if written.file is not None:
            assert self._files is not None, "files are uploaded only where there are any"
            content = await multipart(written.file, self._files)
            headers |= content.headers
        elif content is not None:
            headers["content-type"] = "application/json"
        return httpx2.Request(
            written.method,
            self._url,
            headers=headers,
            content=content,
            extensions={"target": self._path + written.path.encode("ascii")},
        )


def _host(url: httpx2.URL) -> str:
    return url.netloc.decode("ascii")
