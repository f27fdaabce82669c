"""The check of the media hosts in `asset-sync check`: one HEAD to each, which downloads nothing."""

import asyncio
import ssl

import httpx2

from service.adapters.http_client import head_of, in_words, parse_url, status_text
from service.adapters.media.download import HEADERS, SILENCE_SECONDS_MAX
from service.adapters.network import Network, NotListeningError, NotPublicError, PublicNetwork
from service.adapters.tls import context
from service.adapters.transport import Transport
from service.ports import Finding
from service.settings import PREFIX, MediaSettings, SettingsError

HOSTS, PRIVATE_HOSTS = f"{PREFIX}MEDIA__HOSTS", f"{PREFIX}MEDIA__PRIVATE_HOSTS"


async def check_media_hosts(media: MediaSettings) -> list[Finding]:
    """Return a finding for each host: whether it answers, at an address that is allowed.

    Any answer will do, since the root of a host is no file. Names with `*` stand for unknown hosts.
    """
    try:
        tls = context(f"{PREFIX}MEDIA__CA_FILE", media.ca_file)
    except SettingsError as error:
        return [Finding("failed", str(error))]
    names = [name for name in media.public_host_names if not name.startswith("*.")]
    return [
        *[await _check(name, tls) for name in names],
        *[await _check_private(name, tls) for name in media.private_host_names],
    ]


async def _check(host: str, tls: ssl.SSLContext) -> Finding:
    try:
        found = await _ask(f"https://{_in_url(host)}/", Transport(tls, PublicNetwork()))
    except Exception as error:  # noqa: BLE001 - the check shows every error
        return _failed(host, error)
    return Finding("ok", f"The media host {host} answers ({found}).")


async def _check_private(host: str, tls: ssl.SSLContext) -> Finding:
    """Ask over https, and if that fails over http, because either is allowed for a private host.

    Stores of objects in one's own network often listen on another port alone, such as 9000.
    """
    try:
        found = await _ask(f"https://{_in_url(host)}/", Transport(tls, Network()))
    except Exception as error:  # noqa: BLE001 - the check shows every error
        try:
            found = await _ask(f"http://{_in_url(host)}/", Transport(tls, Network()))
        except Exception as of_http:  # noqa: BLE001 - the error of https says more
            causes = (error.__cause__, of_http.__cause__)
            if all(isinstance(cause, NotListeningError) for cause in causes):
                message = f"The private media host {host} does not listen on ports 443 and 80."
                return Finding("warning", message, "Ignore this if its URLs name another port.")
            return _failed(host, error)
        message = f"The private media host {host} answers ({found}), but over plain http only."
        return Finding("warning", message, "Use https where you can: files could be exchanged.")
    return Finding("ok", f"The private media host {host} answers ({found}).")


async def _ask(url: str, transport: Transport) -> str:
    """Return the status of the answer to a HEAD.

    Raises:
        Exception: there is no answer.
    """
    request = httpx2.Request("HEAD", parse_url(url), headers=HEADERS)
    try:
        async with asyncio.timeout(SILENCE_SECONDS_MAX):
            answer = await transport.handle_async_request(request)
        await answer.aclose()
        return status_text(head_of(answer).status)
    finally:
        await transport.aclose()


def _failed(host: str, error: Exception) -> Finding:
    if isinstance(error.__cause__, NotPublicError):
        remedy = f"If it is in your own network, move it from {HOSTS} to {PRIVATE_HOSTS}."
        return Finding("failed", f"The media host {error}", remedy)
    if isinstance(error, TimeoutError):
        message = f"The media host {host} did not answer within {SILENCE_SECONDS_MAX:g} s."
        return Finding("failed", message, "Check that no firewall blocks it.")
    remedy = f"Check its name, that no firewall blocks it, and {PREFIX}MEDIA__CA_FILE."
    return Finding("failed", f"The media host {host}: {in_words(error)}", remedy)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
