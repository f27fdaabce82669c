"""A fault in the sources file, and where in the document it is."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

DocumentPath = tuple[str | int, ...]
"""The keys and list indices that lead to a part of the document, such as ("sources", "s3", "code").

An index that the document does not have is passed over: where one value may stand instead of a list
of values, (…, "label", 0, "path") leads to the path of that one value.
"""

Locate = Callable[[DocumentPath], str]
"""Returns where a part of the document is, for messages: `sources.yaml line 58`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in the sources file; the message says what is wrong and what is meant.

    `is_about_key` tells that the last key of the path itself is wrong, not what it holds.
    """

    path: DocumentPath
    message: str
    is_about_key: bool = False


class FaultError(Exception):
    """Says what is wrong with one text of the file; `Compiler` turns it into a `Fault`."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest known name, or at all names if none is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"Did you mean `{near[0]}`?"
    return f"Known names: {', '.join(names) or 'none'}."
