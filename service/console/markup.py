"""HTML as values: text is escaped unless it is `Html`, which only this module makes."""

import html
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

_UNSHOWN = r"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
_CONTROLS = re.compile(f"[{_UNSHOWN}]")
_NOT_AS_IT_IS = re.compile(f"[&<>\"'{_UNSHOWN}]")
_PICTURES: Final = 0x2400
"""The first of the characters that picture the control characters, such as ␀ for NUL."""
_DELETE, _DELETE_PICTURE, _UNKNOWN = "\x7f", "\u2421", "\ufffd"
_VOID = frozenset({"br", "input", "link", "meta"})
_SCHEMES = ("http://", "https://")
_CODE = re.compile(r"`([^`]*)`")
_TAGS_KEPT = 1024
_SENTENCES_KEPT = 256
"""A page repeats its few tags and sentences in each of its rows: most are made once."""


class Html(str):
    """Markup, in which all text from outside is escaped."""

    __slots__ = ()


NOTHING = Html("")

Child = str | Html | None
Value = str | bool | None


def text(foreign: str) -> Html:
    """Return text as markup that shows it; control characters are pictured."""
    if _NOT_AS_IT_IS.search(foreign) is None:  # as most texts, and much faster
        return Html(foreign)
    return Html(html.escape(_CONTROLS.sub(_picture, foreign)))


def foreign(words: str | None) -> Html:
    """Return text from outside, which may be written from right to left, in its own direction."""
    return NOTHING if words is None else tag("bdi", words)


@lru_cache(_SENTENCES_KEPT)
def prose(words: str) -> Html:
    """Return one of our own sentences; what is in backticks is set as code."""
    return join(
        tag("code", part) if number % 2 else text(part)
        for number, part in enumerate(_CODE.split(words))
    )


def tag(name: str, /, *children: Child, **attributes: Value) -> Html:
    """Return an element; an attribute that is None or False is left out.

    An underscore at the end of an attribute's name is left out, and others become hyphens.
    """
    opening = _opening(name, tuple(attributes.items()))
    if name in _VOID:
        return Html(opening)
    return Html(f"{opening}{join(children)}</{name}>")


def link(address: str, words: Child, /, **attributes: Value) -> Html:
    """Return a link within the console."""
    return tag("a", words, href=address, **attributes)


def link_out(address: str, words: Child) -> Html:
    """Return a link to another site, which is not told where the reader came from."""
    assert address.lower().startswith(_SCHEMES)
    return tag("a", words, href=address, rel="noreferrer noopener external")


def join(children: Iterable[Child]) -> Html:
    """Return the children one after another; None is left out."""
    return Html(
        "".join(
            [
                child if isinstance(child, Html) else text(child)
                for child in children
                if child is not None
            ]
        )
    )


@lru_cache(_TAGS_KEPT)
def _opening(name: str, attributes: tuple[tuple[str, Value], ...]) -> str:
    """Return the beginning of an element, with its attributes."""
    return f"<{name}{''.join(_attribute(key, value) for key, value in attributes)}>"


def _attribute(name: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    key = name.removesuffix("_").replace("_", "-")
    return f" {key}" if value is True else f' {key}="{text(str(value))}"'


def _picture(found: re.Match[str]) -> str:
    character = found[0]
    if character < " ":
        return chr(_PICTURES + ord(character))
    return _DELETE_PICTURE if character == _DELETE else _UNKNOWN
