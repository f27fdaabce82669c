"""All hosts of the sources file, as the port `DamHosts` wants them."""

import time
from collections.abc import Mapping

from service.adapters.readback.auth import ReadSecret
from service.adapters.readback.host import DamHost
from service.mapping.file.hosts import Host
from service.ports import Observer, Observers
from service.translation.facts import ReadEnded, end_of
from service.translation.read_answers import ReadAnswer


class HttpDamHosts:
    """A client for each host, by its name in the file."""

    def __init__(
        self, hosts: Mapping[str, Host], read_secret: ReadSecret, observer: Observer | None = None
    ) -> None:
        """Prepare the clients; connections are opened by the first request.

        Raises:
            SettingsError: the URL or the CA of a host cannot be used.
        """
        self._observer = observer or Observers()
        self._hosts = {name: DamHost(name, host, read_secret) for name, host in hosts.items()}

    async def get(self, host: str, url: str) -> ReadAnswer:
        """Read the asset at this URL, which is relative to the host's base; never raise."""
        began = time.monotonic()
        answer = await self._hosts[host].get(url)
        seconds = round(time.monotonic() - began, 4)
        self._observer.note(ReadEnded(host, end_of(answer), seconds))
        return answer

    async def close(self) -> None:
        for host in self._hosts.values():
            await host.close()
