"""Files that people hand to `publish` and `convert`: read as lines, judged, never sent unseen."""

import io
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import lines as module
from service.cli import main
from service.cli.lines import InputError, Line, judge, lines, rereadable
from service.cli.publish import _Events
from service.core.limits import DecodeLimits
from service.core.model import Rejection, UpsertAsset
from service.settings import load_without_pim

MARK = b"\xef\xbb\xbf"
GOOD = json.dumps({"action": "upsert", "asset_family": "f", "code": "a", "values": {}})
SKIPPED = json.dumps({"specversion": "1.0", "id": "1", "source": "/d", "type": "x.y", "data": {}})
NO_KAFKA = {"ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9"}
LIMITS = DecodeLimits(1024 * 1024)


def texts(content: bytes) -> list[Line]:
    """The lines of this content."""
    return list(lines(io.BytesIO(content)))


def test_a_mark_at_the_beginning_and_foreign_line_ends() -> None:
    """Passed over; lines count as an editor counts them."""
    assert texts(MARK + b"{}\r\n\r\n  {}  \n\n") == [Line(1, b"{}"), Line(3, b"{}")]
    assert texts(b"{}") == [Line(1, b"{}")]
    assert texts(MARK) == []


def test_convert_shows_what_the_pim_would_get() -> None:
    """Values of every form in the PIM's own, of any size."""
    values = {"title": "A", "pages": 12, "tags": ["b"], "gone": [], "text": [{"data": "c"}]}
    only = {"title": "A", "pages": "12", "tags": ["b"], "gone": None, "text": "c"}
    for filling in ({}, {"long": "x" * 100_000}):
        event = {"action": "upsert", "asset_family": "f", "code": "a", "values": values | filling}
        shown = CliRunner().invoke(main, ["convert", "-"], input=json.dumps(event))

        assert shown.exit_code == 0
        assert json.loads(shown.stdout)["values"] == {
            name: [{"locale": None, "channel": None, "data": data}]
            for name, data in (only | filling).items()
        }


def test_a_mark_within_the_file_is_an_error() -> None:
    """Two files put together: the second mark is no part of JSON."""
    second = texts(GOOD.encode() + b"\n" + MARK + GOOD.encode())[1]
    command = judge(second, LIMITS).command
    assert isinstance(command, Rejection)
    assert "byte order mark" in command.message


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16(encoding: str) -> None:
    """As PowerShell writes it: said once, not line by line."""
    with pytest.raises(InputError, match="UTF-16"):
        texts(("\ufeff" + GOOD).encode(encoding))


def test_a_line_of_any_length_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut and called too large; the lines after it keep their numbers."""
    monkeypatch.setattr(module, "LINE_BYTES_MAX", 100)
    monkeypatch.setattr(module, "_REST_BYTES", 7)
    cut, after = texts(b"x" * 1000 + b"\n" + GOOD.encode())

    assert (cut.number, cut.is_truncated, len(cut.text)) == (1, True, 101)
    assert (after.number, after.is_truncated) == (2, False)
    command = judge(cut, LIMITS).command
    assert isinstance(command, Rejection)
    assert command.reason == "too_large"


def test_the_key_counts_too() -> None:
    """What would be too large with its key is said before it is sent."""
    line = Line(1, GOOD.encode())
    assert isinstance(judge(line, DecodeLimits(len(GOOD) + 3)).command, UpsertAsset)
    assert isinstance(judge(line, DecodeLimits(len(GOOD) + 2)).command, Rejection)
    assert judge(line, LIMITS).record.key == b"f/a"


def test_a_pipe_is_copied_so_that_it_can_be_read_twice() -> None:
    """To disk; what can be read again as it is, is not copied."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    pipe = Pipe(GOOD.encode())
    with rereadable(pipe) as copy:
        assert copy is not pipe
        assert copy.read() == GOOD.encode()
        copy.seek(0)
        assert copy.read() == GOOD.encode()
    plain = io.BytesIO()
    with rereadable(plain) as same:
        assert same is plain


def test_a_pipe_that_cannot_be_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with a read-only root: a sentence, and what to do."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(module, "temporary_directory", lambda: tmp_path / "file")
    reading, writing = os.pipe()
    os.close(writing)
    with (
        open(reading, "rb") as pipe,  # noqa: PTH123 - a descriptor
        pytest.raises(InputError, match=r"file: Not a directory\. Give a file instead of -, or"),
        rereadable(pipe),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"# asset-sync\n\nA bridge.\n", "line 3: undecodable"),
        (json.dumps([json.loads(GOOD)]).encode(), "line 1: invalid_event"),
        (json.dumps(json.loads(GOOD), indent=1).encode(), "jq -c"),
        (b"\xff\xfd{}", "not UTF-8"),
        (b"null\n", "line 1: invalid_event"),
        (f'{GOOD}\n{{"action": "rename"}}\n'.encode(), "1 of 2 lines"),
        (GOOD.replace("{}", '{"x": {"y": 1}}').encode(), "line 1: invalid_event"),
        (f"{GOOD}\n".encode() + MARK + GOOD.encode(), "line 2: undecodable"),
        (GOOD.encode("utf-16"), "UTF-16"),
        (b"{}\n" * 50, "... and 30 more"),
        (GOOD.replace("{}", json.dumps({"x": "y" * 1024**2})).encode(), "line 1: too_large"),
    ],
)
def test_publish_refuses_before_it_asks_kafka(tmp_path: Path, content: bytes, said: str) -> None:
    """Which lines and why; nothing is sent, exit 1. Kafka is not even there."""
    (tmp_path / "file").write_bytes(content)
    ended = CliRunner().invoke(main, ["publish", str(tmp_path / "file")], env=NO_KAFKA)

    assert ended.exit_code == 1
    assert said in ended.stderr
    assert "127.0.0.1:9" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("content", [GOOD, f"{GOOD}\n{SKIPPED}\n"])
def test_publish_asks_kafka_once_all_lines_are_events(tmp_path: Path, content: str) -> None:
    """A type that is skipped is an event, too."""
    (tmp_path / "file").write_text(content)
    ended = CliRunner().invoke(main, ["publish", str(tmp_path / "file")], env=NO_KAFKA)

    assert ended.exit_code == 1
    assert "Kafka at 127.0.0.1:9: cannot connect (Connection refused)" in ended.stderr
    assert ("1 of 2 events will be skipped" in ended.stderr) == (content != GOOD)


def test_lines_that_are_appended_meanwhile_are_not_sent(tmp_path: Path) -> None:
    """Nobody checked them: the file of a producer that still writes may end in half a line."""
    path = tmp_path / "file"
    path.write_text(f"{GOOD}\n{GOOD}\n")
    with path.open("rb") as file:
        events = _Events(file, load_without_pim({}, None))
        *_, found = events.lint()
        path.write_text(f"{GOOD}\n{GOOD}\n{GOOD}\n" + GOOD[:20])
        sent = list(events.records())

    assert (found.events, found.wrong) == (2, 0)
    assert [record.value for record in sent] == [GOOD.encode()] * 2


def test_no_force_sends_a_line_that_cannot_be_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be cut: nothing is sent at all."""
    monkeypatch.setattr(module, "LINE_BYTES_MAX", 100)
    (tmp_path / "file").write_bytes(b"x" * 1000)
    ended = CliRunner().invoke(main, ["publish", "--force", str(tmp_path / "file")], env=NO_KAFKA)

    assert ended.exit_code == 1
    assert "Nothing was sent: line 1" in ended.stderr
