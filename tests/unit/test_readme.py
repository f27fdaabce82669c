"""What the README and the page of media files let a reader paste."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import COMMANDS, main
from tests.support.commands import command_of

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MEDIA = (ROOT / "docs" / "media.md").read_text(encoding="utf-8")


def commands(page: str) -> set[str]:
    """Every line of a page's code blocks that runs `asset-sync`, without its explanation."""
    blocks = "\n".join(
        re.findall(r"^ {0,3}```\w*\n(.*?)^ {0,3}```", page, re.DOTALL | re.MULTILINE)
    )
    lines = re.findall(r"^ {0,3}(?:\.venv/bin/)?asset-sync +(.*)$", blocks, re.MULTILINE)
    return {re.split(r"  | #", line)[0].strip() for line in lines}


def named_in(page: str) -> set[str]:
    """The commands that a page runs; each exists, with the options that are written out."""
    named = set()
    for line in commands(page):
        command, words = command_of(line.split())
        options = {name for one in command.params for name in one.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
        named.add(line.split()[0])
    return named


def test_every_command_is_there() -> None:
    """None is missing from the list of the README."""
    assert named_in(README) | {"demo"} == set(COMMANDS)
    assert named_in(MEDIA) == {"media", "outcomes", "publish"}


@pytest.mark.parametrize(
    ("page", "begin", "end", "count"),
    [
        (README, "<<'END'\n", "^END$", 2),
        (MEDIA, "<<'END'\n", "^END$", 1),
        (MEDIA, "```json\n", "^ *```$", 1),
    ],
)
def test_the_events_to_paste_are_events(
    page: str, begin: str, end: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`convert` makes a command of each."""
    found = re.search(f"{begin}(.*?){end}", page, re.DOTALL | re.MULTILINE)
    assert found is not None
    (tmp_path / "events.jsonl").write_text(found[1])
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(main, ["convert", "events.jsonl"])

    assert result.exit_code == 0, result.output
    assert [line.count('"action":"upsert"') for line in result.output.splitlines()] == [1] * count
