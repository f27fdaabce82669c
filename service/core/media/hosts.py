"""From which hosts files may be fetched, by name; addresses are judged where they are resolved."""

from collections.abc import Iterable


class AllowedHosts:
    """The hosts that an operator allowed: exact names, and `*.` with a domain."""

    def __init__(self, hosts: Iterable[str], private_hosts: Iterable[str] = ()) -> None:
        self._private = frozenset(map(_folded, private_hosts))
        allowed = self._private.union(map(_folded, hosts))
        self._exact = frozenset(name for name in allowed if not name.startswith("*."))
        self._domains = tuple(name[1:] for name in allowed if name.startswith("*."))

    @property
    def are_none(self) -> bool:
        """Whether no host is allowed, so that files are not synchronised at all."""
        return not self._exact and not self._domains

    def allow(self, host: str) -> bool:
        """Return whether files may be fetched from this host."""
        name = _folded(host)
        # A domain begins with a dot here: `.cdn.example` itself is not a name below it.
        return name in self._exact or name.removeprefix(".").endswith(self._domains)

    def is_private(self, host: str) -> bool:
        """Return whether the host may have any address, and be asked without TLS."""
        return _folded(host) in self._private


def _folded(name: str) -> str:
    return name.lower().removesuffix(".")
