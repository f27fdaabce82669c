"""Remembers secrets for a few seconds, so that a request does not cost the reading of a file."""

import time
from collections.abc import Callable

from service.webhooks.delivery import ReadSecret

REMEMBER_SECONDS = 5.0
"""How long a rotated secret may go unnoticed."""


class SecretCache:
    """Reads each secret again after `REMEMBER_SECONDS`; it is a `ReadSecret`."""

    def __init__(self, read: ReadSecret, now: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._now = now
        self._known: dict[str, tuple[float, str | None]] = {}

    def __call__(self, name: str) -> str | None:
        """Return the secret, or None if it cannot be read."""
        now = self._now()
        read_at, secret = self._known.get(name, (float("-inf"), None))
        if now - read_at >= REMEMBER_SECONDS:
            secret = self._read(name)
            self._known[name] = (now, secret)
        return secret

    def __repr__(self) -> str:
        # A log or a traceback may show this object.
        return "SecretCache(**********)"
