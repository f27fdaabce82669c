"""Whether a text is an address that a connection can be tried to."""

import re
from ipaddress import IPv6Address

_SERVER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+))(?::(\d{1,5}))?", re.ASCII)


def is_server(text: str) -> bool:
    """Return whether the text is HOST or HOST:PORT, and a connection to it can be tried."""
    found = _SERVER.fullmatch(text)
    if found is None or not 0 < int(found[3] or 9092) < 2**16:
        return False
    return _is_ipv6(found[1]) if found[1] else is_host(found[2])


def _is_ipv6(text: str) -> bool:
    """Return whether the text is an IPv6 address without brackets."""
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def is_host(name: str) -> bool:
    """Return whether the name can be looked up. Python raises no OSError for one that cannot."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return name.isprintable()
