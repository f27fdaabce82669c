"""What the commands print reaches its reader, or ends in plain words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cli.output import json_text, shown

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = ["--help", "schema settings", "convert events.jsonl"]
GOOD = {"action": "upsert", "asset_family": "f", "code": "a", "values": {"n": "é\u202e:x:[/x]"}}


def start(folder: Path, shell: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of a shell in which `asset-sync` is the command."""
    (folder / "events.jsonl").write_text(json.dumps(GOOD) + "\n")
    (folder / "asset-sync").write_text(f'#!/bin/sh\nexec {sys.executable} -m service "$@"\n')
    (folder / "asset-sync").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(  # noqa: S603 - our own line
        ["/bin/sh", "-c", shell],
        cwd=folder,
        env={"PATH": path, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.processes
@pytest.mark.parametrize("words", COMMANDS)
def test_a_full_disk_is_said(tmp_path: Path, words: str) -> None:
    """One sentence, exit 1."""
    ended = start(tmp_path, f"asset-sync {words} > /dev/full")

    assert ended.stderr == b"The output cannot be written: No space left on device.\n"
    assert ended.returncode == 1


@pytest.mark.processes
@pytest.mark.parametrize("words", COMMANDS)
def test_a_reader_that_went_away_is_no_error(tmp_path: Path, words: str) -> None:
    """Silence, and the exit code that the command has anyway."""
    shell = f"{{ asset-sync {words}; echo $? >&2; }} | true"
    ended = start(tmp_path, shell)

    assert ended.stderr == b"0\n"


@pytest.mark.processes
def test_a_reader_that_went_away_hides_no_failure(tmp_path: Path) -> None:
    """`convert` finds a wrong line: it exits with 1, whether or not somebody reads on."""
    (tmp_path / "wrong.jsonl").write_text("no event\n" * 10_000)
    ended = start(tmp_path, "{ asset-sync convert wrong.jsonl; echo $? >&2; } | head -n 1")

    assert ended.stderr == b"1\n"
    assert ended.stdout.count(b"\n") == 1


SOURCES = """version: 1
sources:
  dam:
    topics: [raw]
    family: {const: f}
    code: id
    rules: [{do: upsert}]
"""


@pytest.mark.processes
@pytest.mark.parametrize("words", ["", "--source dam"])
def test_a_pipe_without_an_end_is_left_with_its_reader(tmp_path: Path, words: str) -> None:
    """`yes … | asset-sync convert - | head` ends."""
    (tmp_path / "sources.yaml").write_text(SOURCES)
    command = f"{{ asset-sync convert - {words}; echo $? >&2; }}"
    ended = start(tmp_path, f"yes '{{}}' | {command} | head -n 1")

    assert ended.stderr == b"1\n"
    assert ended.stdout.count(b"\n") == 1


@pytest.mark.processes
@pytest.mark.parametrize("closed", [">&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(tmp_path: Path, closed: str) -> None:
    """Nobody to talk to is no reason to fail."""
    assert start(tmp_path, f"asset-sync convert events.jsonl {closed}").returncode == 0
    assert start(tmp_path, f"asset-sync nonsense {closed}").returncode == 2


@pytest.mark.processes
def test_complaints_that_nobody_takes(tmp_path: Path) -> None:
    """The exit code stays."""
    assert start(tmp_path, "asset-sync convert /dev/null 2> /dev/full").returncode == 0
    assert start(tmp_path, "asset-sync nonsense 2> /dev/full").returncode == 2


@pytest.mark.processes
@pytest.mark.parametrize(
    "environ",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_a_terminal_without_unicode(tmp_path: Path, environ: dict[str, str]) -> None:
    """JSON means the same in every encoding; nothing is lost."""
    ended = start(tmp_path, "asset-sync convert events.jsonl", **environ)

    assert ended.returncode == 0, ended.stderr
    encoding = environ.get("PYTHONIOENCODING", "ascii")
    shown_line = json.loads(ended.stdout.decode(encoding))
    assert shown_line["values"]["n"][0]["data"] == GOOD["values"]["n"]  # type: ignore[index]
    assert b"\\u202e" in ended.stdout


@given(st.text())
def test_foreign_text_stays_on_its_line(text: str) -> None:
    """No line ends, escape sequences or direction changes leave it; printable text stays."""
    assert shown(text).isprintable()
    assert shown(text).encode() or not text
    assert shown(shown(text)) == shown(text)
    assert shown(text, keep="\n").count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\[/x] [red]no[/red] :x:", r"\[/x] [red]no[/red] :x:"),
        ("a\nb\r\t", r"a\nb\r\t"),
        ("\x1b[31mred\x9b0m", r"\x1b[31mred\x9b0m"),
        ("\u202ertl\u2066\ufeff\u2028", r"\u202ertl\u2066\ufeff\u2028"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("é 素 🎉", "é 素 🎉"),
    ],
)
def test_what_is_not_printable_is_shown_as_such(text: str, expected: str) -> None:
    """By its escape sequence."""
    assert shown(text) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(JSON, st.sampled_from([-1, 2]))
def test_json_that_is_shown_means_the_same(value: object, indent: int) -> None:
    """Printable, on one line unless it is indented."""
    text = json_text(json.dumps(value, ensure_ascii=False, indent=1).encode(), indent=indent)

    assert json.loads(text) == value
    assert all(c.isprintable() or (c == "\n" and indent > 0) for c in text)
