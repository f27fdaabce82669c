"""Print how the code reads, in numbers: lengths of functions and classes, comments, docstrings.

python -m tools.code_numbers [FOLDER]
"""

import ast
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SHORT_WORDS = 7
"""A docstring of so few words seldom says more than the name."""
LONG_CLASS_LINES = 200


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was counted in all files of a folder."""

    lines: int
    functions: Sequence[int]
    """Lines of each function, without its docstring."""
    classes: Sequence[tuple[int, str]]
    """Lines and name of each class, the longest first."""
    comment_words: int
    docstring_words: Sequence[int]
    """Words of each docstring of a function or class."""

    @property
    def short_docstrings(self) -> float:
        """The share of docstrings with at most `SHORT_WORDS` words."""
        short = sum(words <= SHORT_WORDS for words in self.docstring_words)
        return short / len(self.docstring_words)


def numbers_of(folder: Path) -> Numbers:
    """Count in every Python file below the folder."""
    texts = [path.read_text() for path in sorted(folder.rglob("*.py"))]
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    docstrings = [ast.get_docstring(node) for node in (*functions, *classes)]
    return Numbers(
        lines=sum(text.count("\n") for text in texts),
        functions=sorted(map(_body_lines, functions)),
        classes=sorted(((_lines(node), node.name) for node in classes), reverse=True),
        comment_words=sum(len(words) for text in texts for words in _comments(text)),
        docstring_words=[len(text.split()) for text in docstrings if text],
    )


def _lines(node: ast.ClassDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first, last = function.body[0], function.body[-1]
    if ast.get_docstring(function) is not None and len(function.body) > 1:
        first = function.body[1]
    assert last.end_lineno is not None
    return last.end_lineno - first.lineno + 1


def _comments(text: str) -> Iterator[list[str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not re.match(r"# (noqa|type:|---)", token.string):
            yield token.string.removeprefix("#").split()


def main() -> None:
    """Print the numbers of a folder, `service` unless another is given."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "service")
    numbers = numbers_of(folder)
    functions = numbers.functions
    longest = ", ".join(f"{name} {lines}" for lines, name in numbers.classes[:3])
    long = sum(lines >= LONG_CLASS_LINES for lines, _ in numbers.classes)
    rows = {
        "lines": f"{numbers.lines:,}",
        "lines a function, median / p90 / max": (
            f"{statistics.median(functions):g} / {functions[len(functions) * 9 // 10]}"
            f" / {functions[-1]}"
        ),
        f"classes of {LONG_CLASS_LINES} lines or more": f"{long}; the longest: {longest}",
        "comment words a 1,000 lines": f"{1000 * numbers.comment_words / numbers.lines:.0f}",
        f"docstrings of at most {SHORT_WORDS} words": f"{numbers.short_docstrings:.0%}",
    }
    for name, value in rows.items():
        print(f"{name:40} {value}")


if __name__ == "__main__":
    main()
