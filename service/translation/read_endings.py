"""What an answer decides about the items that waited for it."""

from service.mapping.results import Ended, EndReason, EndStatus, Fetched, Read, Resumed
from service.translation.read_answers import Refused, TooLarge

URL_CHARACTERS_MAX = 300
"""Longest beginning of a URL that a message shows."""

Answered = Fetched | Refused | TooLarge
"""An answer that decides: the asset as decoded, that there is none, or that it cannot be read."""


def decided(read: Read, answer: Answered) -> Resumed:
    """Return what the item becomes by this answer."""
    match answer:
        case Refused(None, text):
            message = f"{_subject(read)} was not sent: {text}"
            return Resumed((_ended(read, "rejected", "unmappable", message),))
        case Refused(status, text):
            message = f"{_subject(read)} was refused with HTTP {status}: {text or '(no text)'}"
            return Resumed((_ended(read, "rejected", "unmappable", message),))
        case TooLarge(bytes_max):
            message = f"The answer to {_lower(read)} has more than {bytes_max} bytes (max_bytes)."
            return Resumed((_ended(read, "rejected", "too_large", message),))
        case _:
            return read.resume(answer)


def gave_up(read: Read, message: str, failures: int) -> tuple[Ended]:
    """Return the end of an item whose asset could not be read although others could.

    `message` is that of the last failure, and goes on after the host's name.
    """
    told = (
        f"{_subject(read)} failed {failures} times while other assets could be read. "
        f"At last the host {message.rstrip('.')}."
    )
    return (_ended(read, "failed", "fetch_failed", told),)


def _subject(read: Read) -> str:
    return f"The read of {read.url[:URL_CHARACTERS_MAX]} from the host {read.host}"


def _lower(read: Read) -> str:
    return "the" + _subject(read).removeprefix("The")


def _ended(read: Read, status: EndStatus, reason: EndReason, message: str) -> Ended:
    return Ended(read.part, status, reason, message, rule=read.rule, event=read.event)
