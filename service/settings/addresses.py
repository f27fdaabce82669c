"""Reads the addresses of the settings: whether a connection to one can be tried, and its parts."""

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

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


def url_parts(url: str) -> SplitResult | None:
    """Return the parts of an http or https URL that names a host; None for any other text."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # for an invalid port or IPv6 address
        return None
    return parts if is_url and url.isprintable() and " " not in url else None


def is_plain_http_elsewhere(parts: SplitResult) -> bool:
    """Return whether what is sent to this URL can be read on the way to another host."""
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Return whether the host is `localhost` or a loopback address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
