"""Starts our programs in tests by forking a process that has imported them already.

To import a program takes about a second of CPU, and the tests start hundreds. The fork is the
program in everything else: a child of the test with its own environment, directory, streams and
signals, whose exit code the test gets from the kernel.

Rule 1: a test of the start itself, or of memory, asks for the fixture `real_starts`.
Rule 2: only Linux gives a process the children of another one, and coverage is measured from a
program's start: elsewhere, and with it, all programs start as ever.
"""

import contextlib
import ctypes
import gc
import inspect
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.playground.embedded_kafka import die_with_parent

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = frozenset({"service", "tests.support.doomed", "tests.support.stuck"})
"""What can be started as `python -m …` by forking."""
REQUEST_BYTES_MAX = 128 * 1024
ADOPT_SECONDS_MAX = 10.0
ADOPT_ORPHANS = 36
"""The option PR_SET_CHILD_SUBREAPER of Linux: whose parents end become children of this process."""
_EXECUTE_CHILD: Callable[..., None] = subprocess.Popen._execute_child  # type: ignore[attr-defined]
_STREAMS = ("p2cread", "c2pwrite", "errwrite")
_PIPE_ENDS = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


class Request(NamedTuple):
    """A program to start."""

    program: str
    arguments: list[str]
    environ: dict[str, str]
    folder: str
    parent: int


@contextlib.contextmanager
def forked_programs() -> Iterator[None]:
    """Let `subprocess.Popen` start our programs by forking, as long as this context lasts."""
    if sys.platform != "linux" or "coverage" in sys.modules:
        yield
        return
    names = inspect.signature(_EXECUTE_CHILD)
    imported = _Imported()

    def execute_child(*given: Any) -> None:  # noqa: ANN401 - the parameters of the standard library
        process, *_ = given
        wanted = names.bind(*given).arguments
        if not _can_be_forked(wanted):
            _EXECUTE_CHILD(*given)
            return
        request = _request(wanted["args"], wanted["env"], wanted["cwd"])
        streams = [_stream(wanted[name], number) for number, name in enumerate(_STREAMS)]
        process.pid = imported.start(request, streams)
        process._child_created = True
        process._close_pipe_fds(*(wanted[name] for name in _PIPE_ENDS))

    with _popen_by(execute_child):
        yield
    imported.close()


@contextlib.contextmanager
def real_starts() -> Iterator[None]:
    """Let `subprocess.Popen` start our programs as it does elsewhere, within this context."""
    with _popen_by(_EXECUTE_CHILD):
        yield


@contextlib.contextmanager
def _popen_by(execute_child: Callable[..., None]) -> Iterator[None]:
    """Replace the one step of `Popen` that makes the process; all others stay as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "_execute_child", execute_child)
        yield


def _can_be_forked(wanted: Mapping[str, Any]) -> bool:
    arguments = wanted["args"]
    return (
        isinstance(arguments, list)
        and arguments[:2] == [sys.executable, "-m"]
        and arguments[2] in PROGRAMS
        and wanted["preexec_fn"] in {None, die_with_parent}
        and not (wanted["shell"] or wanted["executable"] or wanted["pass_fds"])
        and not wanted["start_new_session"]
    )


def _request(words: list[str], environ: Mapping[str, str] | None, folder: Path | None) -> Request:
    _, _, program, *arguments = words
    inherited = os.environ if environ is None else environ
    return Request(program, arguments, dict(inherited), str(folder or Path.cwd()), os.getpid())


def _stream(given: int, standard: int) -> int:
    return standard if given == -1 else given


class _Imported:
    """The process that has imported our programs, once one is to be started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, request: Request, streams: list[int]) -> int:
        """Start a program as a child of this process, with these streams; return its pid.

        Raises:
            OSError: it cannot be started there.
        """
        with self._lock:
            connection = self._connection or self._begin()
            _adopt_orphans(adopt=True)
            try:
                socket.send_fds(connection, [json.dumps(request).encode()], streams)
                answer = connection.recv(REQUEST_BYTES_MAX)
            finally:
                _adopt_orphans(adopt=False)
        assert answer, "the process that has imported our programs has ended: see its traceback"
        if not answer.isdigit():
            raise OSError(answer.decode())
        return int(answer)

    def close(self) -> None:
        if self._connection is not None and self._process is not None:
            self._connection.close()
            self._process.wait()

    def _begin(self) -> socket.socket:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT)  # noqa: S603 - this file
        theirs.close()
        return self._connection


def _adopt_orphans(*, adopt: bool) -> None:
    ctypes.CDLL(None).prctl(ADOPT_ORPHANS, int(adopt))


# --- the process that has imported our programs --------------------------------------------------


def main() -> None:
    """Import all programs, fork one for each request, and be the program in the fork."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    gc.freeze()  # collecting garbage would copy the pages that the forks share
    while (started := _received(connection)) is not None:
        request, streams = started
        if _fork():
            _become_or_say_why_not(request, streams, connection)
            runpy.run_module(request.program, run_name="__main__", alter_sys=True)
            return
        for stream in streams:
            os.close(stream)


def _import_all() -> None:
    package = import_module("service")
    for module in pkgutil.walk_packages(package.__path__, "service."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def _received(connection: socket.socket) -> tuple[Request, list[int]] | None:
    """Return the next request with its streams; None once the tests have ended."""
    message, streams, _, _ = socket.recv_fds(connection, REQUEST_BYTES_MAX, 3)
    return (Request(*json.loads(message)), streams) if message else None


def _fork() -> bool:
    """Fork a grandchild whose parent ends at once, so that the tests adopt it.

    Returns:
        True in the grandchild, and False here.
    """
    between = os.fork()
    if between == 0:
        if os.fork() == 0:
            return True
        os._exit(0)
    os.waitpid(between, 0)
    return False


def _become_or_say_why_not(request: Request, streams: list[int], connection: socket.socket) -> None:
    """Be the program, and tell the tests its pid; or tell them what failed, and exit."""
    try:
        _become(request, streams)
    except OSError as error:
        connection.send(str(error).encode())
        os._exit(1)
    connection.send(str(os.getpid()).encode())
    connection.close()


def _become(request: Request, streams: list[int]) -> None:
    """Be the program, as if it had been started by its command.

    Raises:
        OSError: the folder is not there, or the tests do not adopt this process.
    """
    deadline = time.monotonic() + ADOPT_SECONDS_MAX
    while os.getppid() != request.parent:
        if time.monotonic() > deadline:
            raise TimeoutError("the tests do not adopt the program")
        time.sleep(0.001)
    die_with_parent()
    for standard, stream in enumerate(streams):
        os.dup2(stream, standard)
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - opened again: it may be a pipe now
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environ)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [request.program, *request.arguments]


if __name__ == "__main__":
    main()
