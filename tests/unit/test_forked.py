"""A program that is started by a fork is what it would be if it were started by its command."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="programs are forked on Linux alone"),
]

SCHEMA = [sys.executable, "-m", "service", "schema", "events"]
CONVERT = [sys.executable, "-m", "service", "convert", "-"]
EVENT = b'{"asset_family": "packshots", "code": "a", "action": "delete"}'


def command_line(process: subprocess.Popen[bytes]) -> list[bytes]:
    return Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")


def started(folder: Path, command: list[str], **environ: str) -> subprocess.Popen[bytes]:
    piped = subprocess.PIPE
    return subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=piped, stdout=piped, stderr=piped, env=os.environ | environ, cwd=folder
    )


def ended(
    folder: Path, command: list[str], given: bytes = b"", **environ: str
) -> tuple[object, ...]:
    """Return exit code, output and errors of the command."""
    with started(folder, command, **environ) as process:
        out, err = process.communicate(given, timeout=60)
        return process.returncode, out, err


@pytest.mark.parametrize(
    ("command", "environ"),
    [
        (SCHEMA, {}),
        (CONVERT, {}),
        (CONVERT, {"ASSET_SYNC_NOBODY_KNOWS": "1"}),
        ([*SCHEMA, "--nobody-knows"], {}),
    ],
)
def test_it_does_the_same(
    tmp_path: Path, request: pytest.FixtureRequest, command: list[str], environ: dict[str, str]
) -> None:
    forked = ended(tmp_path, command, EVENT, **environ)
    request.getfixturevalue("real_starts")
    assert ended(tmp_path, command, EVENT, **environ) == forked


def test_it_is_a_child_in_its_folder_and_ends_by_its_signal(tmp_path: Path) -> None:
    with started(tmp_path, CONVERT) as process:
        assert b"tests.support.forked" in command_line(process)
        assert Path(f"/proc/{process.pid}/cwd").resolve() == tmp_path.resolve()
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not there"):
        started(tmp_path / "not there", CONVERT)
