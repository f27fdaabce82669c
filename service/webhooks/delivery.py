"""A request of a DAM as the schemes see it, and the verdicts that they return."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

WhyRefused = Literal[
    "missing", "malformed", "mismatch", "too_old", "too_new", "recipient", "foreign_key"
]
"""Why a request is not what it claims to be; it is answered with 401.

missing: a header or member that carries the signature. malformed: one that cannot be read.
mismatch: the signature. too_old, too_new: its time. recipient: it is meant for somebody else.
foreign_key: the key that it names is not published by the DAM.
"""

WhyUnjudged = Literal["secret", "key"]
"""What is missing to judge a request: a secret of ours, or a key that its owner publishes."""

ReadSecret = Callable[[str], str | None]
"""Returns the secret of this name; None if it cannot be read now."""


_SEPARATOR_BYTES = len(b": \r\n")


class HeaderFields:
    """The header fields of a request, in their order; names are compared without case."""

    __slots__ = ("_by_name", "size")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        self._by_name: dict[str, list[bytes]] = {}
        self.size = 0
        """Bytes of the fields as they were sent."""
        by_name = self._by_name
        for name, value in fields:
            self.size += len(name) + len(value) + _SEPARATOR_BYTES
            key = str(name, "latin-1").lower()
            if key in by_name:
                by_name[key].append(value)
            else:
                by_name[key] = [value]

    def first(self, name: str) -> bytes | None:
        """Return the first value of a field, given its name in lower case; None without any."""
        values = self._by_name.get(name)
        return values[0] if values else None

    def all(self, name: str) -> Sequence[bytes]:
        """Return every value of a field, given its name in lower case."""
        return self._by_name.get(name, ())

    def items(self) -> Iterable[tuple[str, Sequence[bytes]]]:
        """Return each name in lower case with its values, in the order of the first fields."""
        return self._by_name.items()


class Delivery(NamedTuple):
    """A complete request: what the signature covers, and when it came."""

    headers: HeaderFields
    body: bytes
    utc_seconds: float
    """When the request was received, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The request is what it claims to be."""


VERIFIED = Verified()


@dataclass(frozen=True, slots=True)
class Handshake:
    """The request is genuine and carries no event; it is answered with 200."""

    confirm_url: str | None
    """The URL that has to be fetched first; None if there is nothing to confirm."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The request is not what it claims to be."""

    why: WhyRefused


@dataclass(frozen=True, slots=True)
class Unjudged:
    """The request cannot be judged, and that is not the fault of its sender."""

    why: WhyUnjudged


Verdict = Verified | Handshake | Refused | Unjudged


@dataclass(frozen=True, slots=True)
class KeyWanted:
    """The verdict depends on a key that its owner publishes at this URL."""

    url: str
    judge: Callable[[bytes | None], "Verdict | KeyWanted"]
    """Returns the verdict, given the key; None stands for a key that is not available."""
