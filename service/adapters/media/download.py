"""Downloads media files over HTTP, each into a file of this process's folder.

Rule 1: every URL is judged right before it is asked, the target of a redirect too: its host must be
one of the settings, and all its addresses public, unless the settings call the host private. The
connection goes to the addresses that were judged.
Rule 2: downloads are anonymous: no credentials, no cookies, no proxy of the environment.
Rule 3: a download that lost its connection asks for the rest, where the source can send exactly
that. All other retries are the core's.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import NamedTuple

import httpx2

from service.adapters.http_client import InvalidAnswerError, head_of, in_words, parse_url
from service.adapters.media.answers import Asked, Body, Redirect, read_head
from service.adapters.media.folder import MediaFolder
from service.adapters.media.transfer import Transfer
from service.adapters.network import Network, NotPublicError, PublicNetwork
from service.adapters.transport import Transport
from service.core.effects import StartDownload
from service.core.inputs import (
    Downloaded,
    DownloadEnd,
    DownloadFault,
    DownloadRefused,
)
from service.core.media.hosts import AllowedHosts
from service.settings import PREFIX

REDIRECTS_MAX = 3
RESUMES_MAX = 5
"""How often one download may ask for the rest after a lost connection."""
SILENCE_SECONDS_MAX = 30.0
"""How long a source may take for its answer, or for the next byte of the file."""

HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "asset-sync"}


class NotAskedError(Exception):
    """A host may not be asked; the message says why."""


class Lost(NamedTuple):
    """The connection ended before the file was complete; `message` says how."""

    message: str
    is_progress: bool
    """Whether the connection brought any of the file."""


class Target(NamedTuple):
    """A URL that may be asked, and the transport that judges the addresses of its host."""

    url: httpx2.URL
    transport: Transport


class HttpDownloads:
    """The port `Downloads` over HTTP."""

    def __init__(
        self, folder: MediaFolder, hosts: AllowedHosts, seconds_max: float, tls: ssl.SSLContext
    ) -> None:
        """Prepare the client; connections are opened by the first request.

        Args:
            folder: where the files are kept.
            hosts: the hosts that may be asked.
            seconds_max: how long one download may take in all.
            tls: which certificates are trusted.
        """
        self._folder = folder
        self._hosts = hosts
        self._seconds_max = seconds_max
        self._public = Transport(tls, PublicNetwork())
        self._private = Transport(tls, Network())

    async def download(self, start: StartDownload) -> DownloadEnd:
        """Download a file; on any other end than `Downloaded`, nothing of it is kept."""
        transfer = Transfer(self._folder.new_file(start.file_id), start.bytes_max)
        end: DownloadEnd | None = None
        try:
            async with asyncio.timeout(self._seconds_max):
                end = await self._download(start, transfer)
        except TimeoutError:
            end = DownloadFault(f"The download took more than {self._seconds_max:g} s.")
        finally:
            if not isinstance(end, Downloaded):
                transfer.discard()
        return end

    def drop(self, file_id: int) -> None:
        """Remove a file that was downloaded; this does not wait."""
        self._folder.drop(file_id)

    async def close(self) -> None:
        """Close the connections, and remove the folder."""
        await self._public.aclose()
        await self._private.aclose()
        await self._folder.close()

    async def _download(self, start: StartDownload, transfer: Transfer) -> DownloadEnd:
        end = await self._follow(start, transfer)
        for _ in range(RESUMES_MAX):
            if not isinstance(end, Lost) or transfer.resumes is None or not end.is_progress:
                break
            end = await self._follow(start, transfer)
        return DownloadFault(end.message) if isinstance(end, Lost) else end

    async def _follow(self, start: StartDownload, transfer: Transfer) -> DownloadEnd | Lost:
        """Ask for the file, or what is missing of it, wherever the source redirects to."""
        url = start.url
        for redirects in range(1 + REDIRECTS_MAX):
            try:
                target = self._target(url)
                end = await self._ask(target, start, transfer)
            except NotAskedError as error:
                return DownloadRefused(str(error), is_from_host=redirects > 0)
            if not isinstance(end, Redirect):
                return end
            url = _joined(target.url, end.location)
        return DownloadRefused(f"The source redirects more than {REDIRECTS_MAX} times.")

    def _target(self, text: str) -> Target:
        """Judge the URL by the host that the connection would go to, however it is written.

        Raises:
            NotAskedError: it may not be asked.
        """
        try:
            url = parse_url(text)
        except ValueError as error:
            raise NotAskedError(f"The URL cannot be asked: {error}") from None
        if url.userinfo:
            raise NotAskedError("The URL has a user name, but files are downloaded anonymously.")
        host = url.raw_host.decode("ascii")
        is_private = self._hosts.is_private(host)
        if not self._hosts.allow(host):
            raise NotAskedError(
                f"Files may not be downloaded from {host}: {PREFIX}MEDIA__HOSTS does not allow it."
            )
        if url.scheme != "https" and not (is_private and url.scheme == "http"):
            raise NotAskedError(
                f"Files are downloaded over https, but the URL at {host} is of {url.scheme}."
            )
        return Target(url, self._private if is_private else self._public)

    async def _ask(
        self, target: Target, start: StartDownload, transfer: Transfer
    ) -> DownloadEnd | Redirect | Lost:
        """Send one request, and read its answer.

        Raises:
            NotAskedError: no address of the host is public.
        """
        asked = Asked(
            target.url.path,
            None if transfer.received else start.etag,
            transfer.received if transfer.resumes else 0,
            transfer.resumes,
            start.bytes_max,
        )
        request = httpx2.Request("GET", target.url, headers=_headers(asked))
        try:
            async with asyncio.timeout(SILENCE_SECONDS_MAX):
                answer = await target.transport.handle_async_request(request)
        except TimeoutError:
            return DownloadFault(f"The source did not answer within {SILENCE_SECONDS_MAX:g} s.")
        except Exception as error:  # noqa: BLE001 - no error of a library may end the service
            return _without_answer(error)
        try:
            head = head_of(answer)
            found = read_head(head.status, head.headers, asked)
            return await _receive(answer, found, transfer) if isinstance(found, Body) else found
        except InvalidAnswerError as error:
            return DownloadFault(str(error))
        finally:
            await answer.aclose()


async def _receive(answer: httpx2.Response, body: Body, transfer: Transfer) -> DownloadEnd | Lost:
    """Read the body into the file."""
    end: DownloadEnd | None = await transfer.begin(body)
    is_progress = False
    parts = answer.aiter_raw()
    while end is None:
        try:
            async with asyncio.timeout(SILENCE_SECONDS_MAX):
                part = await anext(parts, None)
        except TimeoutError:
            return DownloadFault(f"The source sent nothing for {SILENCE_SECONDS_MAX:g} s.")
        except Exception as error:  # noqa: BLE001 - no error of a library may end the service
            return Lost(in_words(error), is_progress)
        is_progress = True
        end = await (transfer.finish() if part is None else transfer.take(part))
    return end


def _headers(asked: Asked) -> Mapping[str, str]:
    if asked.resumes is not None:
        return {**HEADERS, "range": f"bytes={asked.offset}-", "if-range": asked.resumes}
    return HEADERS if asked.etag is None else {**HEADERS, "if-none-match": asked.etag}


def _without_answer(error: Exception) -> DownloadFault:
    if isinstance(error.__cause__, NotPublicError):
        raise NotAskedError(
            f"{error} {PREFIX}MEDIA__PRIVATE_HOSTS has to name a host of a private network."
        ) from None
    return DownloadFault(in_words(error))


def _joined(url: httpx2.URL, location: str) -> str:
    try:
        return str(url.join(location))
    except (httpx2.InvalidURL, ValueError):  # of httpx2, and of the urllib that it uses
        return location
