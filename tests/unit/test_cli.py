"""Wrong use of the commands: exit 2 and a sentence, before anything begins."""

import pytest
from click.testing import CliRunner

from service.cli import main
from service.cli.options import Since


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


@pytest.mark.parametrize(
    ("text", "utc_ms"),
    [
        ("2026-11-23T10:00", 1_795_428_000_000),
        ("2026-11-23T10:00+02:00", 1_795_420_800_000),
        ("1970-01-01T00:00:01", 1000),
        ("1969-12-31", 0),
        ("0001-01-01", 0),
        ("99999d", 0),
    ],
)
def test_a_time_before_every_record_is_the_beginning(text: str, utc_ms: int) -> None:
    """Kafka's clients take no time before 1970."""
    assert Since().convert(text, None, None) == utc_ms
