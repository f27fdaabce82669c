"""Bugs that a machine puts in: a comparison, a constant, a boundary, a dropped call.

Which of all candidates are chosen depends on their text alone: to move or rename a file changes
nothing, and a changed line exchanges only its own.
"""

import ast
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.mutants.patch import Mutant

ROOMS = ("service/core/", "service/runtime/", "service/adapters/kafka/")
"""Where bugs are generated; those of media, mapping, translation and webhooks are all written."""
SEED = 20261125
COUNT = 60

Kind = Literal["comparison", "constant", "boundary", "dropped call"]

_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
}
_SHIFTED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}


@dataclass(frozen=True)
class _Candidate:
    kind: Kind
    path: str
    node: ast.expr
    new: str
    """What stands in its place."""
    rank: str


def generated(files: dict[str, str]) -> list[Mutant]:
    """As many of each kind, chosen by the seed."""
    by_kind: dict[Kind, list[_Candidate]] = defaultdict(list)
    for path, text in files.items():
        for candidate in _candidates(path, text) if path.startswith(ROOMS) else ():
            by_kind[candidate.kind].append(candidate)
    chosen: list[_Candidate] = []
    for candidates in by_kind.values():
        candidates.sort(key=lambda candidate: candidate.rank)
        chosen += candidates[: COUNT // len(by_kind)]
    return [_mutant(candidate, files[candidate.path]) for candidate in chosen]


def _candidates(path: str, text: str) -> Iterator[_Candidate]:
    lines = text.splitlines()
    seen: Counter[str] = Counter()
    for node, kind, new in _changes(ast.parse(text)):
        line = lines[node.lineno - 1].strip()
        words = f"{SEED} {kind} {line} {new}"
        seen[words] += 1
        rank = hashlib.sha256(f"{words} {seen[words]}".encode()).hexdigest()
        yield _Candidate(kind, path, node, new, rank)


def _changes(tree: ast.Module) -> Iterator[tuple[ast.expr, Kind, str]]:
    """What could be changed: not in assertions, declarations or messages."""
    for node in _code(tree):
        match node:
            case ast.Compare(left=left, ops=[operation], comparators=[right]):
                yield node, "comparison", _compare(left, _NEGATED[type(operation)], right)
                if (shifted := _SHIFTED.get(type(operation))) is not None:
                    yield node, "boundary", _compare(left, shifted, right)
            case ast.Constant(value=bool(value)):
                yield node, "constant", str(not value)
            case ast.Constant(value=int(number) | float(number)):
                yield node, "constant", repr(number + 1)
            case ast.Expr(value=ast.Call() as call):
                yield call, "dropped call", "None"
            case ast.Expr(value=ast.Await(value=ast.Call()) as awaited):
                yield awaited, "dropped call", "None"


def _compare(left: ast.expr, operation: type[ast.cmpop], right: ast.expr) -> str:
    return ast.unparse(ast.Compare(left, [operation()], [right]))


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Assert | ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr):
            continue
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                yield node.value
                yield from _code(node.value)
            continue
        if isinstance(node, ast.arg | ast.keyword) and isinstance(
            tree, ast.ClassDef | ast.arguments
        ):
            continue  # an annotation, or `frozen=True` of a class
        yield node
        yield from _code(node)


def _mutant(candidate: _Candidate, text: str) -> Mutant:
    node = candidate.node
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = text.encode().splitlines(keepends=True)
    begin = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    raw = text.encode()
    old = " ".join(raw[begin:end].decode().split())
    return Mutant(
        name=f"{candidate.kind.replace(' ', '-')}-{candidate.rank[:6]}",
        holds="",
        path=candidate.path,
        line=node.lineno,
        text=(raw[:begin] + candidate.new.encode() + raw[end:]).decode(),
        change=f"`{old}` → `{candidate.new}`",
        breaks=f"a {candidate.kind}",
    )
