"""Wrong use of the commands: exit 2 and a sentence, before anything begins."""

import pytest
from click.testing import CliRunner

from service.cli import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nonsense", "No such command"),
        ("publish /nowhere", "No such file"),
        ("publish .", "Is a directory"),
        ("outcomes --asset nonsense", "FAMILY/CODE"),
        ("outcomes --asset a/b/c", "FAMILY/CODE"),
        ("outcomes --asset a/\udcff", "is not UTF-8"),
        ("outcomes --status nope", "is not one of"),
        ("outcomes --context dam_id", "NAME=VALUE"),
        ("outcomes --tail -1", "is not in the range"),
        ("outcomes --since yesterday", "is neither like 30m"),
        ("dead-letters list --since yesterday", "like 30m, 2h, 7d"),
        ("dead-letters list --since 999999d", "like 30m, 2h, 7d"),
        ("dead-letters list --asset /code", "FAMILY/CODE"),
        ("schema nonsense", "is not one of"),
        ("pim-simulator --port 99999", "not in the range"),
        ("pim-simulator --structure .", "is a directory"),
        ("pim-simulator --scenario .", "is a directory"),
        ("pim-simulator --calls-at-once 0", "not in the range"),
        ("demo --events 0", "not in the range"),
        ("release --port 0", "not in the range"),
    ],
)
def test_wrong_use(words: str, said: str) -> None:
    """It says what was expected."""
    ended = CliRunner().invoke(main, words.split())

    assert ended.exit_code == 2, ended.output
    assert said in ended.output
