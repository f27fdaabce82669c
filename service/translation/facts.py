"""What the reads of thin events report, for logs and metrics."""

from typing import ClassVar, Literal

from service.core.facts import Fact
from service.mapping.results import NotFound
from service.translation.read_answers import Found, HostTrouble, ReadAnswer, Refused, TooLarge

ReadEnd = Literal["found", "not_found", "refused", "too_large", "trouble"]
"""How the read of an asset ended."""

_ENDS: dict[type[ReadAnswer], ReadEnd] = {
    Found: "found",
    NotFound: "not_found",
    Refused: "refused",
    TooLarge: "too_large",
    HostTrouble: "trouble",
}


def end_of(answer: ReadAnswer) -> ReadEnd:
    """Return the label under which this answer is counted."""
    return _ENDS[type(answer)]


class ReadEnded(Fact, frozen=True):
    """The read of an asset ended; `seconds` includes the wait for the host's limits."""

    name: ClassVar[str] = "read.ended"
    host: str
    ended: ReadEnd
    seconds: float


class HostFailing(Fact, frozen=True):
    """No read of this host succeeds: the source waits, and tries one read at a time."""

    name: ClassVar[str] = "host.failing"
    host: str
    message: str


class HostRecovered(Fact, frozen=True):
    """A read of a failing host succeeded."""

    name: ClassVar[str] = "host.recovered"
    host: str
