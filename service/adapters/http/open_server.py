"""Opens the port of a server.

Rule 1: the host `::` stands for every address of the machine, by IPv6 and by IPv4, whichever of
them it has. asyncio would take it for those of IPv6 alone. Pods of a cluster have addresses of
one kind, the other one, or both, and its chart need not know which.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

EVERY_ADDRESS = "::"


async def open_server(
    protocol: Callable[[], asyncio.BaseProtocol],
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    handshake_seconds_max: float | None = None,
) -> asyncio.Server:
    """Listen, and make a protocol for each connection.

    Raises:
        OSError: the address is already in use, or does not belong to this machine.
    """
    everywhere = host == EVERY_ADDRESS
    where: dict[str, Any] = (
        {"sock": _every_address(port)} if everywhere else {"host": host, "port": port}
    )
    return await asyncio.get_running_loop().create_server(
        protocol, **where, ssl=tls, ssl_handshake_timeout=handshake_seconds_max if tls else None
    )


def bound_port(server: asyncio.Server) -> int:
    """Return the port, which matters where 0 was asked for."""
    port: int = server.sockets[0].getsockname()[1]
    return port


def _every_address(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
