"""Templates: texts with paths in braces, such as `{bucket}/{key|url}`."""

import re
from collections.abc import Callable, Sequence
from typing import Literal
from urllib.parse import quote

from service.contracts.text import DOT_SEGMENTS
from service.mapping.compiler import Compiler
from service.mapping.data import read_datum, text_of_boolean
from service.mapping.endings import UnmappableError
from service.mapping.faults import DocumentPath, FaultError
from service.mapping.json_values import ABSENT, Absent, kind_of
from service.mapping.scope import Path, Scope
from service.mapping.work import FREE_CHARACTERS

_TOKENS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_PERCENT_ENCODED = re.compile(r"\|\s*url\s*$")

Filled = str | Literal[Absent.ABSENT] | None
TemplateOf = Callable[[Scope], Filled]
"""Return the filled template: `ABSENT` where one of its paths is, None where one is empty."""


def split_template(text: str) -> list[tuple[str, bool]]:
    """Return the parts of a template in order, with whether each is a placeholder.

    Raise FaultError for a brace without its other half.
    """
    parts: list[tuple[str, bool]] = []
    for token in _TOKENS.finditer(text):
        if token[0] in {"{{", "}}"}:
            parts.append((token[0][0], False))
        elif token[0] in {"{", "}"}:
            raise FaultError(f"A single {token[0]} stands in the template: write {token[0] * 2}.")
        else:
            parts.append((token[0] if token[1] is None else token[1], token[1] is not None))
    return parts


def compile_template(
    text: str, at: DocumentPath, compiler: Compiler, *, is_url: bool = False
) -> TemplateOf:
    """Return a function that fills the template; in a URL every placeholder is percent-encoded."""
    parts: list[tuple[str, bool]] = []
    with compiler.noting_faults(at):
        parts = split_template(text)
    pieces: list[str | TemplateOf] = []
    for part, is_placeholder in parts:
        if not is_placeholder:
            pieces.append(part)
            continue
        name = _PERCENT_ENCODED.sub("", part)
        path = compiler.path(name, at)
        read = _placeholder(path, name)
        pieces.append(_encoded(read, name) if is_url or name != part else read)
    return _filled(pieces)


def _filled(pieces: Sequence[str | TemplateOf]) -> TemplateOf:
    def filled(scope: Scope) -> Filled:
        made: list[str] = []
        is_empty = False
        for piece in pieces:
            text = piece if isinstance(piece, str) else piece(scope)
            if text is ABSENT:
                return ABSENT
            if text is None:
                is_empty = True
            else:
                made.append(text)
        return None if is_empty else "".join(made)

    return filled


def _placeholder(path: Path, name: str) -> TemplateOf:
    def placeholder(scope: Scope) -> Filled:
        given = path(scope)
        if isinstance(given, str) and len(given) <= FREE_CHARACTERS:
            return given.strip() or None
        found = read_datum(given, name, scope.work)
        if isinstance(found, bool):
            return text_of_boolean(found)
        if isinstance(found, (list, dict)):
            raise UnmappableError(f"{name} is {kind_of(found)}: a template takes one text")
        return found

    return placeholder


def _encoded(read: TemplateOf, name: str) -> TemplateOf:
    def encoded(scope: Scope) -> Filled:
        found = read(scope)
        if not isinstance(found, str):
            return found
        if found in DOT_SEGMENTS:
            raise UnmappableError(f"{name} is {found!r}, which would leave its place in the URL")
        return quote(found, safe="")

    return encoded
