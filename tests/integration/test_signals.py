"""A signal that comes before the service runs: its imports take about a second."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.service import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("real_starts")]

SECONDS_MAX = 60.0
NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child"]
"""A command that runs a program as PID 1, as a container does."""


def _can_unshare() -> bool:
    """Return whether this machine allows to make a PID namespace."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True)  # noqa: S603
    return tried.returncode == 0


def interrupted(
    module: str, number: signal.Signals, *words: str, as_pid_1: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Run a command that gets the signal while it imports the module."""
    command = [sys.executable, "-m", "tests.support.interrupted", module, number.name, *words]
    return subprocess.run(  # noqa: S603 - our own command
        [*NAMESPACE, *command] if as_pid_1 else command,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=SECONDS_MAX,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "module", ["service.cli", "aiokafka", "service.apps.sync", "service.cli.run"]
)
def test_run_exits_drained(module: str, number: signal.Signals) -> None:
    """No work has started, so the exit code is 0 at once, without a traceback."""
    ended = interrupted(module, number, "run")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


@pytest.mark.parametrize("module", ["service.cli", "service.cli.output"])
def test_pid_1_is_ended_too(module: str) -> None:
    """Without a handler the kernel drops the signal, and a pod lives on for its grace period."""
    if not _can_unshare():
        pytest.skip("no PID namespace can be made here (unshare needs a privilege)")
    run = interrupted(module, signal.SIGTERM, "run", as_pid_1=True)
    other = interrupted(module, signal.SIGTERM, "schema", "events", as_pid_1=True)

    assert (run.returncode, run.stdout) == (0, b"")
    assert (other.returncode, other.stdout) == (128 + signal.SIGTERM, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_other_commands_are_ended_by_the_signal(number: signal.Signals) -> None:
    """The signal ends them as it ends any program by default, without a traceback."""
    ended = interrupted("service.cli.schema", number, "schema", "events")

    assert (ended.returncode, ended.stdout, ended.stderr) == (-number, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_so_are_commands_that_are_at_work(number: signal.Signals) -> None:
    """`convert` waits for its input; what it has printed before is not lost."""
    line = b'{"action": "delete", "asset_family": "f", "code": "a"}\n'
    with subprocess.Popen(
        [sys.executable, "-m", "service", "convert", "-"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdin.write(line)
        command.stdin.flush()
        assert command.stdout.readline()
        command.send_signal(number)
        assert command.wait(SECONDS_MAX) == -number
        assert command.stderr.read() == b""


def test_run_exits_between_the_imports_and_the_event_loop(tmp_path: Path) -> None:
    """Reading the settings hangs here: a secret comes from a pipe that nobody writes to."""
    secret = tmp_path / "password"
    os.mkfifo(secret)
    settings = {
        "ASSET_SYNC_PIM__BASE_URL": "https://pim.example.com",
        "ASSET_SYNC_PIM__APP_TOKEN_FILE": str(secret),
    }
    service = subprocess.Popen(
        [sys.executable, "-m", "service", "run"],
        env=os.environ | settings | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    with contextlib.closing(secret.open("wb")):  # opens once the service reads
        service.send_signal(signal.SIGTERM)
        assert service.wait(SECONDS_MAX) == 0
