"""Secrets that the sources file names: variables `ASSET_SYNC_SECRET__NAME`, or mounted files.

They are read again each time, so that they can be replaced while a program runs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.contracts.text import is_encodable
from service.settings.reference import variables
from service.settings.variables import PREFIX, SECRETS_DIR

SECRET = PREFIX + "SECRET__"
SECRET_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A secret that cannot be read; the message says why and what to do, without its value."""

    message: str


@dataclass(frozen=True, slots=True, repr=False)
class SecretStore:
    """The secrets of this process by name; its repr shows none of them.

    Attributes:
        given: All `ASSET_SYNC_*` variables of the environment and the `.env` file.
        directory: The directory of mounted secrets, or None.
    """

    given: Mapping[str, str]
    directory: Path | None

    def read(self, name: str) -> str | Unreadable:
        """Return a secret without line ends around it; a variable is preferred to a file."""
        variable = variable_of(name)
        secret: str | Unreadable | None = self.given.get(variable)
        if not secret and self.directory is not None and (self.directory / name).is_file():
            secret = read_secret(self.directory / name)
        if isinstance(secret, Unreadable):
            return Unreadable(f"The secret {name}: {secret.message}")
        if secret and not is_encodable(secret):
            return Unreadable(f"The secret {name}: the variable {variable} is not UTF-8.")
        if not (secret and secret.strip("\r\n")):
            return Unreadable(
                f"The secret {name} is missing: set {variable}, or put a file {name} into the "
                f"directory {SECRETS_DIR}."
            )
        return secret.strip("\r\n")

    def get(self, name: str) -> str | None:
        """Return a secret, or None if it cannot be read."""
        secret = self.read(name)
        return None if isinstance(secret, Unreadable) else secret

    def unreadable(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return a sentence for each of these secrets that cannot be read."""
        found = (self.read(name) for name in dict.fromkeys(names))
        return tuple(secret.message for secret in found if isinstance(secret, Unreadable))


def variable_of(name: str) -> str:
    """Return the variable that may hold this secret."""
    return SECRET + name.upper()


def read_secret(path: Path) -> str | Unreadable:
    """Return the content of a secret's file without line ends around it.

    A byte order mark at the beginning, as some editors write it, is not part of the secret.
    """
    try:
        with path.open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        return Unreadable(f"{path} cannot be read: {error.strerror or error}.")
    except UnicodeDecodeError:
        return Unreadable(f"{path} cannot be read: it is not UTF-8.")
    if len(content) > SECRET_BYTES_MAX:
        return Unreadable(f"{path} is larger than {SECRET_BYTES_MAX} bytes.")
    return text.strip("\r\n")


def reserved_names() -> frozenset[str]:
    """Return the names, in lower case, under which settings may be mounted as files."""
    return frozenset(_file_names())


def _file_names() -> Iterator[str]:
    for variable, _, _ in variables():
        yield from (variable.lower(), variable.removeprefix(PREFIX).lower())
