"""Paths: what they start from, and how they are walked.

A *plain* path has names, quoted names and indexes alone. A loop of our own walks it, which is ten
times faster than JMESPath and tells an absent value from null. Any other path is a JMESPath
expression, whose null and [] count as absent.
"""

import json
import re
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from service.mapping.expressions import Node, compile_expression, parse
from service.mapping.faults import FaultError, did_you_mean
from service.mapping.json_values import ABSENT
from service.mapping.scope import RECORD, RECORD_MEMBERS, ROOTS, START, Path, Root, Scope

CHARACTERS_MAX = 1_000
"""Most characters of a path."""

Steps = tuple[str | int, ...]
"""The steps of a plain path: a name into an object, an index into a list (-1 is the last one)."""

_ROOT = re.compile(r"\$[A-Za-z_]*")
_STEP = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)|("(?:[^"\\]|\\.)*")|\[(-?[0-9]{1,9})\]')


@dataclass(frozen=True, slots=True)
class ParsedPath:
    """A path that can be walked; exactly one of `steps` and `tree` is there."""

    text: str
    root: Root
    steps: Steps | None
    tree: Node | None

    @property
    def member(self) -> str | None:
        """The name, if the path is one name in what paths start from, as nearly every path is."""
        if self.root != START or self.steps is None or len(self.steps) != 1:
            return None
        (step,) = self.steps
        return step if isinstance(step, str) else None


def parse_path(text: str) -> ParsedPath:
    """Return the parsed path; raise FaultError when it is not one."""
    if len(text) > CHARACTERS_MAX:
        raise FaultError(f"The path has {len(text):,} characters; {CHARACTERS_MAX:,} are allowed.")
    root, rest = _split_root(text.strip())
    steps = () if rest == "@" else plain_steps(rest)
    if root == RECORD:
        _check_record(steps)
    return ParsedPath(text, root, steps, parse(rest) if steps is None else None)


def _split_root(text: str) -> tuple[Root, str]:
    """Return the root and the path that starts from it; `@` is the root itself."""
    named = _ROOT.match(text)
    if named is None:
        return START, text
    if named[0] not in ROOTS:
        raise FaultError(f"There is no root `{named[0]}`. {did_you_mean(named[0], ROOTS)}")
    rest = text[named.end() :]
    if rest.startswith("."):
        return ROOTS[named[0]], rest[1:]
    return ROOTS[named[0]], rest if rest.startswith("[") else f"@{rest}"


def plain_steps(text: str) -> Steps | None:
    """Return the steps of a plain path, or None for any other text."""
    steps: list[str | int] = []
    at = 0
    while at < len(text):
        if steps and text[at] == "." and text[at + 1 : at + 2] != "[":
            at += 1
        elif steps and text[at] != "[":
            return None
        found = _STEP.match(text, at)
        if found is None:
            return None
        steps.append(_step(found))
        at = found.end()
    return tuple(steps) or None


def _step(found: re.Match[str]) -> str | int:
    name, quoted, index = found.groups()
    if index is not None:
        return int(index)
    if quoted is None:
        return str(name)
    try:
        return str(json.loads(quoted))
    except ValueError:
        raise FaultError(f"{quoted} is not a quoted name: write it like a text of JSON.") from None


def _check_record(steps: Steps | None) -> None:
    if steps and steps[0] not in RECORD_MEMBERS:
        raise FaultError(
            f"`$record` has no `{steps[0]}`. {did_you_mean(str(steps[0]), RECORD_MEMBERS)}"
        )


def compile_path(path: ParsedPath) -> Path:
    """Return the function that gives a path's value."""
    if path.member is not None:
        return _member(path.member)
    if path.steps is not None:
        return _plain(path.root, path.steps)
    assert path.tree is not None
    return _expression(path.root, path.tree, path.text)


def _plain(root: Root, steps: Steps) -> Path:
    if not steps:
        return attrgetter(root)
    if any(isinstance(step, int) for step in steps):
        return _through_lists(root, steps)
    return _members(root, tuple(str(step) for step in steps))


def _member(name: str) -> Path:
    def member(scope: Scope) -> object:
        found: Any = scope.start
        return found.get(name, ABSENT) if found.__class__ is dict else ABSENT

    return member


def _members(root: Root, names: tuple[str, ...]) -> Path:
    start_of = attrgetter(root)

    def members(scope: Scope) -> object:
        found: Any = start_of(scope)
        for name in names:
            if found.__class__ is not dict:
                return ABSENT
            found = found.get(name, ABSENT)
        return found

    return members


def _through_lists(root: Root, steps: Steps) -> Path:
    start_of = attrgetter(root)

    def through_lists(scope: Scope) -> object:
        return walk_steps(start_of(scope), steps)

    return through_lists


def walk_steps(found: object, steps: Steps) -> object:
    """Return what stands at the end of a plain path, or `ABSENT`."""
    for step in steps:
        if isinstance(found, dict) and isinstance(step, str):
            found = found.get(step, ABSENT)
        elif isinstance(found, list) and isinstance(step, int) and -len(found) <= step < len(found):
            found = found[step]
        else:
            return ABSENT
    return found


def _expression(root: Root, tree: Node, text: str) -> Path:
    start_of = attrgetter(root)
    evaluate = compile_expression(tree, text)

    def expression(scope: Scope) -> object:
        start = start_of(scope)
        if start is ABSENT:
            return ABSENT
        found = evaluate(start, scope.work)
        return ABSENT if found is None or found == [] else found

    return expression
