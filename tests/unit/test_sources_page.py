"""What docs/sources.md lets a reader paste is right."""

import re
import textwrap
from pathlib import Path

import pytest

from service.mapping import profiles
from service.mapping.file.load import Loaded, load
from service.mapping.file.value import Value
from service.mapping.file_tests import UnreadableFile, run_file_tests
from tests.support.commands import command_of

PAGE = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
HOSTS = (
    "hosts: {dam: {base: 'https://a'}, bynder: {base: 'https://b'}, aprimo: {base: 'https://c'}}\n"
)
MINIMUM = {
    "topics": "[t]",
    "family": "{const: packshots}",
    "code": "id",
    "rules": "[{do: upsert}]",
}


def as_file(block: str) -> str:
    """Return a block as a whole file: with a head, and what it takes for granted."""
    if block.startswith("version:"):
        return block
    keys = set(re.findall(r"^(\w+):", block, re.MULTILINE))
    needed = MINIMUM if "profile" not in keys else {}
    lines = [f"{key}: {value}" for key, value in needed.items() if key not in keys]
    source = textwrap.indent(block + "\n".join(lines), "    ")
    return f"version: 1\n{HOSTS}sources:\n  dam:\n{source}\n"


@pytest.mark.parametrize("block", BLOCKS)
def test_every_piece_of_a_sources_file_is_without_fault(block: str) -> None:
    loaded = load(as_file(block).encode(), "sources.yaml")

    assert isinstance(loaded, Loaded), "\n".join(map(str, loaded))


def test_the_tests_of_the_whole_example_pass() -> None:
    (whole,) = (block for block in BLOCKS if block.startswith("version:"))
    loaded = load(whole.encode(), "sources.yaml")
    assert isinstance(loaded, Loaded)
    results = list(run_file_tests(loaded, lambda _: UnreadableFile("no file")))

    assert [result.differences for result in results] == [()]


def test_every_profile_has_a_recipe() -> None:
    assert re.findall(r"^### .*\(`(.+)`\)$", PAGE, re.MULTILINE) == sorted(
        profiles.names(), key=lambda name: PAGE.index(f"(`{name}`)")
    )
    assert set(re.findall(r"^profile: (\S+)$", PAGE, re.MULTILINE)) == set(profiles.names())


def test_every_command_exists() -> None:
    for line in re.findall(r"^asset-sync (.*?)(?:  |$)", PAGE, re.MULTILINE):
        command, words = command_of(line.split())
        options = {name for one in command.params for name in one.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_the_order_of_the_steps_is_that_of_the_page() -> None:
    """A reader relies on it; the fields of the model are in the same order."""
    (listed,) = re.findall(r"whatever their order in the file:\n(.*?)\. Each", PAGE, re.DOTALL)
    steps = [field.alias or name for name, field in Value.model_fields.items()]

    named = re.findall(r"`(\w+)`", listed)
    assert [step for step in steps if step in named] == named
