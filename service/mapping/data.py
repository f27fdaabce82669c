"""The data of a value: what a path gives, in the form that the PIM takes.

Absent is `ABSENT`, empty is None. Text is trimmed, a number is text as it was written, a boolean is
itself, and a list of scalars is a list of distinct texts.
"""

from collections.abc import Iterable
from typing import Literal

from service.mapping.endings import UnmappableError
from service.mapping.json_values import ABSENT, Absent, kind_of, text_of_number
from service.mapping.work import FREE_CHARACTERS, Work

Datum = str | bool | list[str] | dict[str, str] | Literal[Absent.ABSENT] | None
"""A dict is a file that is to be uploaded (`url`, `name`, `sha256`)."""


def read_datum(found: object, path: str, work: Work) -> Datum:
    """Return what a path gave as data; raise UnmappableError for an object or a list of lists."""
    if isinstance(found, str):
        if len(found) > FREE_CHARACTERS:
            work.spend_on(found)
        return found.strip() or None
    if found is None or found is ABSENT or isinstance(found, bool):
        return found
    if isinstance(found, int):
        return str(found)
    if isinstance(found, list):
        return _texts(found, path, work)
    return _scalar_text(found, path, "is")


def _texts(found: list[object], path: str, work: Work) -> list[str] | None:
    work.spend(len(found))
    texts: dict[str, None] = {}
    for element in found:
        if element is not None:
            text = element if isinstance(element, str) else _scalar_text(element, path, "holds")
            if len(text) > FREE_CHARACTERS:
                work.spend_on(text)
            texts[text.strip()] = None
    texts.pop("", None)
    return list(texts) or None


def _scalar_text(found: object, path: str, verb: str) -> str:
    if isinstance(found, bool):
        return text_of_boolean(found)
    if not isinstance(found, (int, float)):
        raise UnmappableError(f"{path} {verb} {kind_of(found)}: name what in it is meant")
    text = text_of_number(found)
    if text is None:
        raise UnmappableError(f"{path} gives a number that is not finite")
    return text


def text_of_boolean(found: bool) -> str:  # noqa: FBT001 - the datum itself
    """Return the JSON word, which is how a boolean takes part in text."""
    return "true" if found else "false"


def is_empty(found: Datum) -> bool:
    """Return whether this is neither absent nor a value."""
    return not found and found is not False


def tidy(found: Datum) -> Datum:
    """Return the result of steps, trimmed, distinct, and None where it is empty."""
    if isinstance(found, str):
        return found.strip() or None
    if isinstance(found, list):
        return list(distinct(found)) or None
    return found


def distinct(texts: Iterable[str]) -> Iterable[str]:
    """Return the trimmed texts in their order, without repetition and empty ones."""
    found = {text.strip(): None for text in texts}
    found.pop("", None)
    return found
