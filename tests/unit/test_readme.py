"""What the README lets a reader paste."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import COMMANDS, main
from tests.support.commands import command_of

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> set[str]:
    """Every line of the README's code blocks that runs `asset-sync`, without its explanation."""
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", README, re.DOTALL | re.MULTILINE))
    lines = re.findall(r"^(?:\.venv/bin/)?asset-sync +(.*)$", blocks, re.MULTILINE)
    return {re.split(r"  | #", line)[0].strip() for line in lines}


def test_every_command_is_there() -> None:
    """With the options that are written out; and none is missing from the list."""
    named = set()
    for line in commands():
        command, words = command_of(line.split())
        options = {name for one in command.params for name in one.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
        named.add(line.split()[0])
    assert named | {"demo"} == set(COMMANDS)


def test_the_events_to_paste_are_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`convert` makes a command of each."""
    found = re.search(r"<<'END'\n(.*?)^END$", README, re.DOTALL | re.MULTILINE)
    assert found is not None
    (tmp_path / "events.jsonl").write_text(found[1])
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(main, ["convert", "events.jsonl"])

    assert result.exit_code == 0, result.output
    assert [line.count('"action":"upsert"') for line in result.output.splitlines()] == [1, 1]
