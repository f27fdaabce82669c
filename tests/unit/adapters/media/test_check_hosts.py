"""`asset-sync check` asks each media host, and says what to do about those that do not answer."""

import asyncio
import ssl
from pathlib import Path

import httpcore2
import pytest
import trustme

from service.adapters.media import check_hosts
from service.adapters.media.check_hosts import check_media_hosts
from service.adapters.network import Network
from service.ports import Finding
from service.settings import MediaSettings
from tests.support.media import Source, serving


class Loopback(Network):
    """Connects to one port of this machine for https and to another for http."""

    def __init__(self, https: int, http: int = 1) -> None:
        self._ports = {443: https, 80: http}

    async def connect_tcp(
        self, host: str, port: int, *rest: object, **named: object
    ) -> httpcore2.AsyncNetworkStream:
        del host
        return await super().connect_tcp("127.0.0.1", self._ports[port], *rest, **named)


def port_of(source: Source) -> int:
    """The port of a source."""
    return int(source.url.rpartition(":")[2])


async def check(**given: str | Path) -> list[Finding]:
    """Check with these settings."""
    return await check_media_hosts(MediaSettings.model_validate(given))


async def test_without_hosts_nothing_is_asked() -> None:
    assert await check() == []
    assert await check(hosts="*.cdn.example") == []


async def test_hosts_that_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any answer will do; a certificate must be of the name."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("cdn.example", "dam").configure_cert(tls)
    async with serving(tls=tls) as source:
        for network in ("PublicNetwork", "Network"):
            monkeypatch.setattr(check_hosts, network, lambda: Loopback(port_of(source)))
        found = await check(
            hosts="cdn.example,*.cdn.example,other.example",
            private_hosts="dam",
            ca_file=tmp_path / "ca.pem",
        )
    assert [(one.grade, one.message.partition(" (")[0]) for one in found if one.grade == "ok"] == [
        ("ok", "The media host cdn.example answers"),
        ("ok", "The private media host dam answers"),
    ]
    [wrong] = [one for one in found if one.grade != "ok"]
    assert (wrong.grade, "other.example" in wrong.message) == ("failed", True)
    assert "MEDIA__CA_FILE" in wrong.remedy
    assert [path for path, _ in source.asked] == ["/", "/"]


async def test_a_private_host_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is allowed, and said; a host that must be public is not asked so."""
    async with serving() as source:
        for network in ("PublicNetwork", "Network"):
            monkeypatch.setattr(
                check_hosts, network, lambda: Loopback(https=1, http=port_of(source))
            )
        private, public = [*await check(private_hosts="dam"), *await check(hosts="cdn.example")]
    assert (private.grade, "plain http only" in private.message) == ("warning", True)
    assert public.grade == "failed"


async def test_a_private_host_on_another_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which port the URLs of its files name is not known, so this is no failure."""
    monkeypatch.setattr(check_hosts, "Network", lambda: Loopback(https=1, http=1))
    [found] = await check(private_hosts="minio")
    assert (found.grade, "does not listen on ports 443 and 80" in found.message) == (
        "warning",
        True,
    )
    assert "another port" in found.remedy


async def test_a_private_host_that_is_not_there() -> None:
    [found] = await check(private_hosts="no-such-host.invalid")
    assert found.grade == "failed"


async def test_a_host_inside_the_network() -> None:
    """Where to name it instead."""
    [found] = await check(hosts="127.0.0.1")
    assert found.grade == "failed"
    assert "has the address 127.0.0.1, which is not public" in found.message
    assert "MEDIA__PRIVATE_HOSTS" in found.remedy


async def test_a_host_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_hosts, "SILENCE_SECONDS_MAX", 1.0)
    closed = asyncio.Event()

    async def read_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(read_on, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setattr(check_hosts, "PublicNetwork", lambda: Loopback(port))
    [found] = await check(hosts="cdn.example")
    assert (found.grade, "did not answer within 1 s" in found.message) == ("failed", True)
    await asyncio.wait_for(closed.wait(), 10)
    server.close()


async def test_a_ca_that_cannot_be_read(tmp_path: Path) -> None:
    [found] = await check(hosts="cdn.example", ca_file=tmp_path / "none.pem")
    assert (found.grade, "ASSET_SYNC_MEDIA__CA_FILE" in found.message) == ("failed", True)
