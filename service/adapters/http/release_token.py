"""The token that `POST /release` asks for: a file that only the service's own user can read.

A request from loopback proves little: a mesh's sidecar, a forwarded port and a web page in a
browser come from there too. Who can read the file is in this container, as this user.
"""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

HEADER = "x-asset-sync-release-token"
BYTES_MAX = 1024


class TokenFile:
    """The token of the service that listens on a port of this machine."""

    def __init__(self, port: int) -> None:
        self.path = _folder() / f"asset-sync-release-{port}.token"

    def create(self) -> str:
        """Write a new token; what another service left there is replaced.

        Raises:
            OSError: the file cannot be written, or belongs to somebody else.
        """
        token = secrets.token_urlsafe(32)
        self.path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(self.path, flags, 0o600), "w", encoding="ascii") as file:
            file.write(token)
        return token

    def read(self) -> str | None:
        """Return the token; None where there is none that this user can read."""
        try:
            with self.path.open("rb") as file:
                token = file.read(BYTES_MAX).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return token if token.isprintable() else None

    def remove(self) -> None:
        """The service ends."""
        with contextlib.suppress(OSError):
            self.path.unlink()


def _folder() -> Path:
    """Where temporary files go; /tmp where none can be written, as in a read-only container."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return Path("/tmp")  # noqa: S108 - named to a person: nothing can be written there
