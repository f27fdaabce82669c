"""A second process of a program, forked before anything runs, with a socket between the two.

Rule 1: the child does not outlive its parent. However the parent ends, the kernel closes its end
of the socket, and the child has to exit when it reads that.
Rule 2: the child ignores SIGTERM and SIGINT, which a terminal or a service manager may send to
both: its parent says when to stop.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from service.process.early_signals import SIGNALS
from service.process.exit_codes import ExitCode
from service.process.shutdown import exit_at_once

LOOK_SECONDS = 0.02
"""How often a parent that waits for the end of its child looks for it."""


class Child:
    """A forked process, as its parent sees it."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.connection = connection
        """The parent's end of the socket."""
        self._exit_code: int | None = None

    async def ended(self, seconds_max: float) -> int | None:
        """Wait for the end; return the exit code, or None if the child still runs after that time.

        The code of a child that a signal ended is the number of the signal, negated.
        """
        deadline = time.monotonic() + seconds_max
        while not self._has_ended() and time.monotonic() < deadline:  # noqa: ASYNC110 - a process
            await asyncio.sleep(LOOK_SECONDS)
        return self._exit_code

    def kill(self) -> None:
        """End the child at once, if it has not ended yet."""
        if not self._has_ended():
            os.kill(self.pid, signal.SIGKILL)

    def _has_ended(self) -> bool:
        """Look whether the child has ended, and take its exit code, which the kernel gives once."""
        if self._exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code is not None


def fork(work: Callable[[socket.socket], ExitCode]) -> Child:
    """Run `work` in a child with its end of the socket, and return what the parent has of it.

    There must be no other thread and no event loop yet, since a child does not get them whole.
    """
    ours, theirs = socket.socketpair()
    gc.freeze()  # collecting garbage would copy the pages that the two share
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _work_and_exit(work, theirs)
    theirs.close()
    return Child(pid, ours)


def _work_and_exit(work: Callable[[socket.socket], ExitCode], end: socket.socket) -> NoReturn:
    """Work, and never return into the code of the parent."""
    code = ExitCode.FAILED
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        code = work(end)
    except BaseException:  # noqa: BLE001 - whatever it is, it must not reach the parent's code
        traceback.print_exc()
    finally:
        exit_at_once(code)
