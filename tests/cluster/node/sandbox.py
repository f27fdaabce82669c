"""Processes with process ids and mounts of their own, which all end when the sandbox ends."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from service.playground.local_system import LoggedProcess

PLACES = {"run": "/run", "lib": "/var/lib", "log": "/var/log"}
"""Folders of a sandbox, and where its processes see them instead of those of the machine."""

START_SECONDS_MAX = 10.0
END_SECONDS_MAX = 30.0
LOOK_SECONDS = 0.05

INIT = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries orphans
open(sys.argv[1], "w").close()
while True:
    signal.pause()
"""
"""Process 1: if it is killed, the kernel kills all others."""


class Sandbox:
    """A folder, and the processes that run in it.

    They see folders of the sandbox in the place of /run, /var/lib and /var/log, so everything that
    container runtimes write there stays in the sandbox. What they mount, this machine never sees.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[LoggedProcess] = []
        self._init = 0

    def __enter__(self) -> Self:
        for name in (*PLACES, "logs"):
            (self.folder / name).mkdir(parents=True)
        mounts = [f"mount --bind {self.folder}/{name} {place}" for name, place in PLACES.items()]
        is_up = self.folder / "up"
        script = " && ".join([*mounts, 'exec "$@"'])
        init = ["sh", "-c", script, "sh", sys.executable, "-c", INIT, str(is_up)]
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        parent = self._run("init", ["unshare", *namespaces, *init])
        deadline = time.monotonic() + START_SECONDS_MAX
        while not is_up.exists():
            if parent.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"A sandbox cannot be started here: {parent.log.read_text()}")
            time.sleep(LOOK_SECONDS)
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
        self._init = int(children)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Kill every process of the sandbox, those that detached themselves too; keep the logs."""
        self._started[0].kill()
        deadline = time.monotonic() + END_SECONDS_MAX
        while Path(f"/proc/{self._init}").exists() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS_MAX)
        for name in PLACES:
            shutil.rmtree(self.folder / name, ignore_errors=True)  # a gigabyte of images

    def start(self, name: str, *command: str, path: str = "") -> LoggedProcess:
        """Start a process that logs to `logs/NAME.log`; `path` comes first in its PATH."""
        return self._run(name, [*self._entering(), *command], path)

    def run(self, *command: str, path: str = "") -> str:
        """Run a command to its end, and return its output.

        Raises:
            CalledProcessError: it failed.
        """
        return subprocess.run(  # noqa: S603 - our own command
            [*self._entering(), *command],
            capture_output=True,
            text=True,
            check=True,
            env=_environ(path),
        ).stdout

    def _entering(self) -> list[str]:
        return ["nsenter", f"--target={self._init}", "--mount", "--pid", "--"]

    def _run(self, name: str, command: list[str], path: str = "") -> LoggedProcess:
        process = LoggedProcess(command, _environ(path), self.folder / "logs" / f"{name}.log")
        self._started.append(process)
        return process


def _environ(path: str) -> dict[str, str]:
    places = [path] if path else []
    return os.environ | {"PATH": os.pathsep.join([*places, os.environ["PATH"]])}
