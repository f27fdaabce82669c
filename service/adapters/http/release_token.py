"""The token that `POST /release` asks for: a file that only the service's own user can read.

A loopback address does not prove who sent a request: a sidecar of a service mesh, a forwarded port
and a web page in a browser use it too. A sender that can read the file runs in the service's
container, as the service's user.
"""

import contextlib
import os
import secrets

from service.settings import temporary_directory

HEADER = "x-asset-sync-release-token"
BYTES_MAX = 1024


class TokenFile:
    """The file with the token of the service that listens on a port of this machine."""

    def __init__(self, port: int) -> None:
        self.path = temporary_directory() / f"asset-sync-release-{port}.token"

    def create(self) -> str:
        """Write a new token into the file and return the token; an older file is replaced.

        Raises:
            OSError: the file cannot be written, or belongs to another user.
        """
        token = secrets.token_urlsafe(32)
        self.path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(self.path, flags, 0o600), "w", encoding="ascii") as file:
            file.write(token)
        return token

    def read(self) -> str | None:
        """Return the token; None if there is no file, or this user cannot read it."""
        try:
            with self.path.open("rb") as file:
                token = file.read(BYTES_MAX).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return token if token.isprintable() else None

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
