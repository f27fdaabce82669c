"""The second process of a program: how it ends, and that it does not outlive the first one."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from service.process.child import Child, fork
from service.process.exit_codes import ExitCode
from tests.support.processes import is_running

SECONDS_MAX = 10.0

Work = Callable[[socket.socket], ExitCode]


@pytest.fixture
def forked() -> Iterator[Callable[[Work], Child]]:
    """Fork children whose sockets are closed after the test, and which end with it."""
    children: list[Child] = []

    def make(work: Work) -> Child:
        children.append(fork(work))
        return children[-1]

    yield make
    for child in children:
        child.kill()
        child.connection.close()


def wait_for_the_parent(connection: socket.socket) -> ExitCode:
    """Work as every child has to: until its parent closes its end or ends."""
    connection.sendall(b"ready")
    connection.recv(1)
    return ExitCode.DRAINED


def fail(_: socket.socket) -> ExitCode:
    raise KeyError("a bug")


def sleep(_: socket.socket) -> ExitCode:
    time.sleep(3600)
    return ExitCode.DRAINED


@pytest.fixture
def child(forked: Callable[[Work], Child]) -> Child:
    """Return a child that has begun to work."""
    made = forked(wait_for_the_parent)
    assert made.connection.recv(5) == b"ready"
    return made


async def test_a_child_ends_with_the_code_that_its_work_returns(child: Child) -> None:
    assert await child.ended(0) is None
    child.connection.close()
    assert await child.ended(SECONDS_MAX) == ExitCode.DRAINED
    assert await child.ended(0) == ExitCode.DRAINED, "the code is kept"
    child.kill()  # does nothing


async def test_a_bug_ends_the_child_and_never_returns_into_the_parents_code(
    forked: Callable[[Work], Child], capfd: pytest.CaptureFixture[str]
) -> None:
    assert await forked(fail).ended(SECONDS_MAX) == ExitCode.FAILED
    assert "KeyError: 'a bug'" in capfd.readouterr().err


async def test_a_child_that_hangs_can_be_killed(forked: Callable[[Work], Child]) -> None:
    child = forked(sleep)
    assert await child.ended(0.05) is None
    child.kill()
    assert await child.ended(SECONDS_MAX) == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_are_left_to_the_parent(child: Child, number: signal.Signals) -> None:
    """A terminal sends Ctrl-C to both, and the parent has to drain first."""
    os.kill(child.pid, number)
    assert await child.ended(0.05) is None
    child.connection.close()
    assert await child.ended(SECONDS_MAX) == ExitCode.DRAINED


async def test_a_child_sees_the_end_of_a_parent_that_was_killed(
    forked: Callable[[Work], Child],
) -> None:
    """The parent's end of the socket closes, because the child has no copy of it."""

    def be_a_parent(connection: socket.socket) -> ExitCode:
        child = fork(wait_for_the_parent)
        connection.sendall(child.connection.recv(5) + child.pid.to_bytes(4, "big"))
        return sleep(connection)

    parent = forked(be_a_parent)
    told = parent.connection.recv(9, socket.MSG_WAITALL)
    pid = int.from_bytes(told.removeprefix(b"ready"), "big")
    assert is_running(pid)
    parent.kill()
    await parent.ended(SECONDS_MAX)
    async with asyncio.timeout(SECONDS_MAX):
        while is_running(pid):  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.01)
