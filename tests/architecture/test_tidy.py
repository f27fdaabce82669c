"""Limits on the size of the code, and on what the lock files hold."""

import ast
import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.code_numbers import Numbers, numbers_of

ROOT = Path(__file__).resolve().parent.parent.parent
FUNCTION_LINES_MAX = 50
FILE_LINES_MAX = 650
CLASS_LINES_MAX = 300
SHORT_DOCSTRINGS_MAX = 0.15
LOCKED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)


@functools.cache
def numbers() -> Numbers:
    """Count in the service, once."""
    return numbers_of(ROOT / "service")


def functions() -> Iterator[tuple[str, int]]:
    """Every function of the service with its lines."""
    for path in sorted((ROOT / "service").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{path.name}:{node.name}", node.end_lineno - node.lineno + 1


def test_functions_are_short() -> None:
    """One level, one thing."""
    assert [found for found in functions() if found[1] > FUNCTION_LINES_MAX] == []


def test_no_class_holds_most_of_the_thinking() -> None:
    assert [found for found in numbers().classes if found[0] > CLASS_LINES_MAX] == []


def test_docstrings_say_more_than_the_name() -> None:
    """One of a few words is a fragment, or says what the name says; leave it out then."""
    assert numbers().short_docstrings < SHORT_DOCSTRINGS_MAX


def test_files_are_not_endless() -> None:
    """Beyond this a file holds two subjects."""
    sizes = {
        path.name: len(path.read_text().splitlines()) for path in (ROOT / "service").rglob("*.py")
    }
    assert {name: size for name, size in sizes.items() if size > FILE_LINES_MAX} == {}


def test_the_image_is_locked_as_the_tests_were() -> None:
    """Both locks have the same versions."""
    everything = dict(LOCKED.findall((ROOT / "requirements.lock").read_text()))
    image = dict(LOCKED.findall((ROOT / "requirements-run.lock").read_text()))
    assert image.items() <= everything.items()


@pytest.mark.parametrize(
    "name",
    [
        "requirements.lock",
        "requirements-run.lock",
        "benchmarks/peers/python/requirements.txt",
        "tests/servers/senders/requirements.txt",
    ],
)
def test_locks_have_hashes_and_no_addresses(name: str) -> None:
    """Any index that has the same files will do."""
    text = (ROOT / name).read_text()
    assert text.count("--hash=sha256:") > text.count("==")
    assert "://" not in text


def test_every_dependency_has_its_reason() -> None:
    """One line each in docs/dependencies.md."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    names = {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in wanted}
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    assert {name for name in names if name not in reasons} == set()
