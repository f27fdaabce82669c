"""The settings of media files: where they may come from, and what they may take."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from service.settings.sections import Group, Size

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\]")
_HOST_OR_ANY = re.compile(rf"(?:\*\.)?{_HOST.pattern}")


def _names(text: str) -> tuple[str, ...]:
    """Return the names as DNS compares them, without duplicates; IPv6 addresses in brackets."""
    names = (part.strip().rstrip(".").lower() for part in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def _bare(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip("[]") for name in names)


def _each(allowed: re.Pattern[str], form: str) -> Callable[[str], str]:
    """Return a check that each name has the allowed form, which the error describes."""

    def check(text: str) -> str:
        for name in _names(text):
            if not allowed.fullmatch(name):
                # A URL's user or query may be a secret, which must not get into a log.
                found = "" if "@" in text or "?" in text else f" (found {name!r})"
                raise ValueError(f"must be {form}{found}")
        return text

    return check


_check_hosts = _each(
    _HOST_OR_ANY,
    "host names such as assets.dam.example or *.cdn.example, separated by commas, "
    "without https://, port or path",
)
_check_private_hosts = _each(
    _HOST,
    "host names such as dam.internal, separated by commas, without https://, port or path, "
    "and without *",
)


class MediaSettings(Group):
    """Settings of media files, which are downloaded and uploaded to the PIM."""

    hosts: Annotated[str, AfterValidator(_check_hosts)] = Field(
        "",
        description="Hosts from which media files may be downloaded over https, separated by "
        "commas. *.cdn.example allows every host below cdn.example. Without any host, changes "
        "with files are rejected as media_refused.",
    )
    private_hosts: Annotated[str, AfterValidator(_check_private_hosts)] = Field(
        "",
        description="Further hosts from which media files may be downloaded, separated by commas. "
        "They may have addresses of a private network, and may be asked over plain http.",
    )
    ca_file: Path | None = Field(
        None,
        description="PEM file with the certificate of a private CA that signed the certificates of "
        "the hosts of media files. It is trusted in addition to the CAs of the system.",
    )
    max_bytes: Size = Field(
        200 * 1024**2,
        ge=1,
        description="Largest media file in bytes. A larger one is rejected as media_refused. The "
        "PIM's attribute may have a lower limit.",
    )
    disk_bytes: Size = Field(
        2 * 1024**3,
        ge=1,
        description="Most bytes of media files on disk at the same time in a replica, at least "
        "MEDIA__MAX_BYTES. A download waits until there is room for a file of that size.",
    )
    dir: Path | None = Field(
        None,
        description="Directory in which a replica makes a folder for its media files. Default: the "
        "temporary directory of the system.",
    )
    max_concurrency: int = Field(
        4,
        ge=1,
        le=100,
        description="Most downloads of media files at the same time in a replica.",
    )
    timeout_seconds: float = Field(
        300,
        gt=0,
        le=86_400,
        description="Timeout of one download of a media file, in seconds. A source that sends "
        "nothing for 30 seconds ends it too.",
    )
    upload_timeout_seconds: float = Field(
        300,
        gt=0,
        le=86_400,
        description="Timeout of one upload of a media file to the PIM, in seconds.",
    )
    remember: int = Field(
        200_000,
        ge=0,
        le=10_000_000,
        description="Uploaded files that a replica remembers, so that the same file is not "
        "uploaded again. A higher value needs more memory.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.disk_bytes < self.max_bytes:
            raise ValueError(
                f"DISK_BYTES ({self.disk_bytes}) must be at least MAX_BYTES ({self.max_bytes}): "
                "otherwise the largest file would never find room"
            )
        return self

    @property
    def public_host_names(self) -> tuple[str, ...]:
        """The hosts that must have public addresses; `*.` stands for one label or more."""
        return _bare(_names(self.hosts))

    @property
    def private_host_names(self) -> tuple[str, ...]:
        """The hosts that may have any address."""
        return _bare(_names(self.private_hosts))

    @property
    def are_on(self) -> bool:
        """Whether there is any host from which files may be downloaded."""
        return bool(self.public_host_names or self.private_host_names)

    @property
    def directory(self) -> Path:
        """The directory in which a replica makes its folder."""
        return self.dir or temporary_directory()


def temporary_directory() -> Path:
    """Return the directory for temporary files; /tmp if none can be written to.

    A container with a read-only root often has none: who writes there then learns that it fails.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return Path("/tmp")  # noqa: S108 - it cannot be written to
