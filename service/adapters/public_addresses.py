"""Which addresses are public: a host of the sources file is connected to at no other.

A name in a URL from outside may resolve to an address inside the network, such as that of a cloud's
metadata service. Python's `is_global` alone does not tell: it counts multicast, and IPv4 addresses
that are written inside IPv6 addresses, as global.

Rule 1: an IPv4 address inside an IPv6 address is judged as IPv4, because that is where a
translator or a tunnel would send the packets.
Rule 2: IPv6 addresses outside of global unicast are not public, whatever they may become.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # protocol assignments (RFC 6890)
            "192.88.99.0/24",  # relays of 6to4, which are switched off (RFC 7526)
            "2001::/23",  # protocol assignments (RFC 2928); newer Pythons count some as global
            "3fff::/20",  # documentation (RFC 9637)
        ),
    )
)
"""Networks that `is_global` counts as global, or did in an earlier Python."""

_V4_BITS = 0xFFFF_FFFF

Address = IPv4Address | IPv6Address


def first_not_public(addresses: Iterable[str]) -> str | None:
    """Return the first of these addresses that is not public, if there is any."""
    return next((address for address in addresses if not is_public(address)), None)


def is_public(address: str) -> bool:
    """Return whether the address can only be one of the public internet."""
    try:
        judged = ip_address(address)
    except ValueError:
        return False
    return all(map(_is_public, _meant(judged)))


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if address.is_multicast or any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global


def _meant(address: Address) -> Iterator[Address]:
    """Return the addresses to which packets for this one go in the end."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64:
        yield IPv4Address(int(address) & _V4_BITS)
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo
    else:
        yield address
