"""The console's two processes: what the first one makes of the reports and the end of the other."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable

import pytest

from service.apps.indexer_process import IndexerProcess
from service.console.facts import IndexRebuilt
from service.console.reports import (
    Begin,
    Damaged,
    Ended,
    Noted,
    Order,
    Progress,
    Report,
    SegmentReport,
    Stop,
    decode_order,
    encode,
)
from service.ports import FatalError
from service.process.child import fork
from service.process.exit_codes import ExitCode
from service.process.pipe import LENGTH_BYTES

SECONDS_MAX = 10.0
PROGRESS = Progress(
    is_open=True,
    segments=(SegmentReport(1, 5, 1, 2),),
    lag=3,
    problem="Kafka does not answer",
    quiet_seconds=20.0,
)


Script = Callable[[socket.socket], ExitCode]


class Parent:
    """The process of the pages, as far as it concerns the other one."""

    def __init__(self, script: Script) -> None:
        self.shown: list[Progress] = []
        self.facts: list[object] = []
        self.child = fork(script)
        self.indexer = IndexerProcess(self.child, self.shown.append, self.facts.append)

    async def run(self) -> None:
        """Begin, and take the reports until an error."""
        await self.indexer.begin()
        try:
            await self.indexer.run()
        finally:
            await self.indexer.close(SECONDS_MAX)

    async def stop(self, seconds_max: float = SECONDS_MAX) -> int | None:
        """Stop the child, and return its exit code."""
        self.indexer.stop()
        await self.indexer.close(seconds_max)
        return await self.child.ended(SECONDS_MAX)


def report(connection: socket.socket, *reports: Report) -> None:
    """Send reports, in a child."""
    for one in reports:
        message = encode(one)
        connection.sendall(len(message).to_bytes(LENGTH_BYTES, "big") + message)


def order(connection: socket.socket) -> Order:
    """Return the next order, in a child."""
    length = int.from_bytes(connection.recv(LENGTH_BYTES, socket.MSG_WAITALL), "big")
    return decode_order(connection.recv(length, socket.MSG_WAITALL))


async def test_reports_are_taken_until_an_error_ends_it() -> None:
    def work(connection: socket.socket) -> ExitCode:
        assert order(connection) == Begin()
        noted = Noted.of(IndexRebuilt("missing"))
        report(connection, PROGRESS, noted, Ended("The disk is full."))
        return ExitCode.FAILED

    parent = Parent(work)
    assert (parent.indexer.is_open, parent.indexer.lag) == (False, None)
    with pytest.raises(FatalError, match=r"^The disk is full\.$"):
        await parent.run()
    assert parent.shown == [PROGRESS]
    assert parent.facts == [IndexRebuilt("missing")]
    indexer = parent.indexer
    assert (indexer.is_open, indexer.lag, indexer.problem) == (True, 3, "Kafka does not answer")
    assert 20 <= indexer.quiet_seconds < 20 + SECONDS_MAX


def be_killed(connection: socket.socket) -> ExitCode:
    order(connection)
    os.kill(os.getpid(), signal.SIGKILL)
    return ExitCode.DRAINED


def leave(_: socket.socket) -> ExitCode:
    return ExitCode.FAILED


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (be_killed, "was ended by SIGKILL, as when the system is short of memory"),
        (leave, "ended with exit code 1: see its last log lines"),
    ],
)
async def test_its_unexpected_end_ends_the_program(script: Script, words: str) -> None:
    with pytest.raises(FatalError, match=f"{words}. Start the console again"):
        await Parent(script).run()


async def test_it_is_told_of_damage_and_when_to_stop() -> None:
    def work(connection: socket.socket) -> ExitCode:
        orders = [order(connection) for _ in range(3)]
        return ExitCode.DRAINED if orders == [Begin(), Damaged(7), Stop()] else ExitCode.FAILED

    parent = Parent(work)
    await parent.indexer.begin()
    await asyncio.to_thread(parent.indexer.report_damage, 7)  # as a thread of a search does
    assert await parent.stop() == ExitCode.DRAINED


async def test_one_that_does_not_stop_is_killed() -> None:
    def hang(_: socket.socket) -> ExitCode:
        time.sleep(3600)
        return ExitCode.DRAINED

    parent = Parent(hang)
    await parent.indexer.begin()
    assert await parent.stop(0.2) == -signal.SIGKILL


async def test_one_that_never_began_is_let_go() -> None:
    """The start of the console failed, as because of a topic that does not exist."""

    def wait(connection: socket.socket) -> ExitCode:
        return ExitCode.DRAINED if connection.recv(1) == b"" else ExitCode.FAILED

    assert await Parent(wait).stop() == ExitCode.DRAINED
