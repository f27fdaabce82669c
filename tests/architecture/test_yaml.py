"""No map in the YAML of this project names a key twice: the last one would count in silence."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.strict_yaml import read, read_all

ROOT = Path(__file__).parents[2]
FOLDERS = ("service", "tests", "benchmarks", "deploy", ".github")
SUFFIXES = {".yaml", ".yml"}


def files() -> Iterator[Path]:
    """Every file of YAML; Helm's templates are none before they are rendered."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and "templates" not in path.parts:
                yield path
    yield ROOT / ".pre-commit-config.yaml"


def test_each_key_stands_once() -> None:
    assert {path: flaw for path in files() if (flaw := flaw_of(path)) is not None} == {}


def flaw_of(path: Path) -> str | None:
    """Return why the file cannot be read, if it cannot."""
    try:
        read_all(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        return str(error)
    return None


def test_a_key_that_stands_twice_is_found() -> None:
    """Also far down; a key that overrides a merged one stands once."""
    assert read("a: &a {b: 1}\nc: {<<: *a, b: 2}") == {"a": {"b": 1}, "c": {"b": 2}}
    with pytest.raises(yaml.YAMLError, match=r"\['b'\] twice"):
        read("a: [{b: 1, b: 2}]")
