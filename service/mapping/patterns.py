"""Regular expressions by RE2, whose time is linear in the text, whatever the pattern."""

from collections.abc import Callable, Mapping
from typing import Protocol

import re2

from service.mapping.faults import FaultError

WEIGHT = 8
"""A search costs this many times as much as another reading of the same text."""


class Match(Protocol):
    """The part of a match that is used. Groups are UTF-8; None stands for one that is not there."""

    def __getitem__(self, group: int | str) -> bytes | None: ...


Search = Callable[[bytes], Match | None]


class Pattern:
    """A compiled pattern. It is searched in UTF-8, which saves RE2's wrapper from counting."""

    __slots__ = ("groups", "names", "search")

    def __init__(self, text: str, *, ignore_case: bool = False) -> None:
        options = re2.Options()
        options.log_errors = False
        options.case_sensitive = not ignore_case
        try:
            compiled = re2.compile(text, options)
        except re2.error as error:
            raise FaultError(f"This is not an RE2 pattern: {_reason(error)}.") from None
        self.search: Search = compiled.search
        self.groups: int = compiled.groups
        self.names: Mapping[str, int] = compiled.groupindex

    def found_in(self, text: str) -> bool:
        return self.search(text.encode()) is not None


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def group_text(match: Match, group: int | str) -> str | None:
    """Return the text of a group. Half a character, which a pattern can cut off, is replaced."""
    found = match[group]
    return None if found is None else found.decode("utf-8", "replace")
