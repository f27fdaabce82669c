"""A small internet: a network namespace whose loopback has public addresses, with a DNS of its own.

    unshare --net --mount python -m tests.support.public_net FOLDER

Downloads from its hosts, and prints what they ended with and which addresses were asked, as JSON.
"""

import asyncio
import json
import ssl
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import trustme

from service.core.media.hosts import AllowedHosts
from tests.support.media import Client, client_in

PUBLIC, OTHER, METADATA, INSIDE = "93.184.216.34", "8.8.8.8", "169.254.169.254", "127.0.0.1"
NAMESERVER = "127.0.0.53"
NAMES: Mapping[str, list[list[str]]] = {
    "cdn.example": [[PUBLIC]],
    "other.example": [[OTHER]],
    "inside.example": [[INSIDE]],
    "metadata.example": [[METADATA]],
    "both.example": [[PUBLIC, INSIDE]],
    "rebound.example": [[PUBLIC], [INSIDE]],
    "moving.example": [[PUBLIC], [METADATA]],
}
"""Each name with its addresses, in the order in which it is asked for; the last ones stay."""
ADDRESS_RECORD = 1


class Nameserver(asyncio.DatagramProtocol):
    """Answers for these names alone, with IPv4 addresses that are valid for no time at all."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        assert self._transport is not None
        labels, at = [], 12
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
        (kind,) = struct.unpack("!H", data[at + 1 : at + 3])
        addresses = self._addresses(".".join(labels)) if kind == ADDRESS_RECORD else []
        head = struct.pack("!HHHHH", 0x8180, 1, len(addresses), 0, 0)
        records = [
            b"\xc0\x0c" + struct.pack("!HHIH", ADDRESS_RECORD, 1, 0, 4) + bytes(map(int, parts))
            for parts in (address.split(".") for address in addresses)
        ]
        answer = data[:2] + head + data[12 : at + 5] + b"".join(records)
        self._transport.sendto(answer, addr)

    def _addresses(self, name: str) -> list[str]:
        answers = NAMES.get(name, [[]])
        found = answers[min(self.asked[name], len(answers) - 1)]
        self.asked[name] += 1
        return found


class Hosts:
    """A server at each address, which says where it was asked, and redirects `/to/HOST`."""

    def __init__(self) -> None:
        ca = trustme.CA()
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert(*NAMES, METADATA).configure_cert(self._tls)
        self.trusting = ssl.create_default_context()
        ca.configure_trust(self.trusting)
        self.asked: list[str] = []

    async def listen(self, address: str) -> None:
        """Serve at this address."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.asked.append(address)
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            target = path.removeprefix("/to/")
            head = "200 OK" if target == path else f"302 Found\r\nlocation: https://{target}/f.jpg"
            body = address.encode()
            writer.write(f"HTTP/1.1 {head}\r\ncontent-length: {len(body)}\r\n".encode())
            writer.write(b"connection: close\r\n\r\n" + body)
            await writer.drain()
            writer.close()

        await asyncio.start_server(serve, address, 443, ssl=self._tls)


def set_up(folder: Path) -> None:
    """Give loopback its addresses, and the resolver its nameserver."""
    resolver = folder / "resolv.conf"
    resolver.write_text(f"nameserver {NAMESERVER}\noptions attempts:1 timeout:2\n")
    for command in (
        "ip link set lo up",
        *(f"ip address add {address}/32 dev lo" for address in (PUBLIC, OTHER, METADATA)),
        f"mount --bind {resolver} /etc/resolv.conf",
    ):
        subprocess.run(command.split(), check=True)  # noqa: S603 - the words above


async def outcome_of(client: Client, hosts: Hosts, *urls: str) -> dict[str, Any]:
    """Download these one after the other: how the last one ended, and who was asked by all."""
    hosts.asked.clear()
    ended: dict[str, Any] = {}
    for url in urls:
        end = await client.get(url)
        ended = {"end": type(end).__name__, **msgspec.to_builtins(end)}
    return {**ended, "asked": list(hosts.asked)}


async def main(folder: Path) -> None:
    """Print what became of each download."""
    nameserver, hosts = Nameserver(), Hosts()
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: nameserver, local_addr=(NAMESERVER, 53))
    for address in (PUBLIC, OTHER, METADATA, INSIDE):
        await hosts.listen(address)
    allowed = AllowedHosts([*NAMES, METADATA])
    cases = {
        "public": ["https://cdn.example/f.jpg"],
        "redirected": ["https://cdn.example/to/other.example"],
        "inside": ["https://inside.example/f.jpg"],
        "redirected inside": ["https://cdn.example/to/inside.example"],
        "metadata": [f"https://{METADATA}/f.jpg"],
        "redirected to metadata": [f"https://cdn.example/to/{METADATA}"],
        "redirected to a name of metadata": ["https://cdn.example/to/metadata.example"],
        "both": ["https://both.example/f.jpg"],
        "rebound": ["https://rebound.example/f.jpg"] * 2,
        "moving": ["https://moving.example/to/moving.example"],
    }
    async with client_in(folder, allowed, tls=hosts.trusting) as client:
        found = {name: await outcome_of(client, hosts, *urls) for name, urls in cases.items()}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    here = Path(sys.argv[1])
    set_up(here)
    asyncio.run(main(here))
