"""The checks of the hosts in `asset-sync check`: one GET of each base, which changes nothing."""

from collections.abc import Mapping
from http import HTTPStatus

from service.adapters.readback.auth import ReadSecret
from service.adapters.readback.host import DamHost
from service.mapping.file.hosts import Host
from service.ports import Finding
from service.settings import SettingsError
from service.translation.read_answers import HostTrouble, ReadAnswer

_ANSWERS_ALL_THE_SAME = range(200, 400)
"""A base need not be an asset: a page, or a redirect to a login, shows that the host is there."""


async def check_hosts(hosts: Mapping[str, Host], read_secret: ReadSecret) -> list[Finding]:
    """Return a finding for each host: reachable by its TLS, and authorised as far as it tells."""
    return [await _check(name, host, read_secret) for name, host in hosts.items()]


async def _check(name: str, host: Host, read_secret: ReadSecret) -> Finding:
    try:
        client = DamHost(name, host, read_secret)
    except SettingsError as error:
        return Finding("failed", str(error), "Correct the sources file.")
    try:
        return _finding(name, host, await client.get("/"))
    finally:
        await client.close()


def _finding(name: str, host: Host, answer: ReadAnswer) -> Finding:
    if not isinstance(answer, HostTrouble) or answer.status in _ANSWERS_ALL_THE_SAME:
        return Finding("ok", f"The host {name} at {host.base} answers{_credentials(host)}.")
    message = answer.sentence(name)
    match answer.status:
        case None:
            remedy = (
                f"Check hosts.{name} in the sources file: base, its credentials, ca_file if a "
                "private CA signed its certificate, allow_private if it is in your own network."
            )
            return Finding("failed", message, remedy)
        case HTTPStatus.UNAUTHORIZED:
            return Finding("failed", message, f"Check the secrets that hosts.{name}.auth names.")
        case HTTPStatus.FORBIDDEN:
            remedy = "Check that its user may read assets; the base itself may be forbidden to all."
            return Finding("warning", message, remedy)
        case _:
            return Finding("warning", message, "Try again later. The source waits meanwhile.")


def _credentials(host: Host) -> str:
    if host.auth is None:
        return ""
    if host.auth.oauth2 is not None:
        return ", and its token URL accepts the credentials"
    return ", and does not refuse the credentials"
