"""When a shutdown begins, what it interrupts, and that nothing that hangs holds it up."""

import asyncio
import contextlib

import pytest

from service.closing import close_within
from service.ports import FatalError
from service.process import program, shutdown
from service.process.exit_codes import ExitCode
from service.process.shutdown import Shutdown


class Exited(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def exits(monkeypatch: pytest.MonkeyPatch) -> list[ExitCode]:
    """The exit codes with which the process would have ended at once."""
    codes: list[ExitCode] = []

    def exit_at_once(code: ExitCode) -> None:
        codes.append(code)
        raise Exited

    monkeypatch.setattr(shutdown, "exit_at_once", exit_at_once)
    monkeypatch.setattr(shutdown, "leave_in_time", lambda _: None)
    return codes


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_the_second_signal_ends_the_process_at_once(exits: list[ExitCode]) -> None:
    """Somebody who presses Ctrl-C twice does not want to wait for the drain."""
    beginning = Shutdown()
    beginning.request()
    await beginning.begun()
    with pytest.raises(Exited):
        beginning.request()

    assert exits == [ExitCode.FAILED]


async def test_a_signal_after_an_error_ends_the_process_at_once(exits: list[ExitCode]) -> None:
    """It is closing already, and was not asked to drain."""
    beginning = Shutdown()
    beginning.fail(FatalError("first"))
    with pytest.raises(Exited):
        beginning.request()
    with pytest.raises(FatalError):
        await beginning.begun()

    assert (exits, beginning.is_requested) == ([ExitCode.FAILED], False)


async def test_what_comes_first_counts() -> None:
    """Errors after a signal belong to the drain, and errors after an error follow from it."""
    requested, failed = Shutdown(), Shutdown()
    requested.request()
    requested.fail(FatalError("late"))
    failed.fail(FatalError("first"))
    failed.fail(FatalError("second"))

    await requested.begun()
    with pytest.raises(FatalError, match="first"):
        await failed.begun()


async def test_a_task_that_fails_begins_it() -> None:
    """A task that is cancelled does not: its owner did that."""

    async def fail() -> None:
        raise FatalError("of a task")

    beginning = Shutdown()
    cancelled, failing = asyncio.create_task(forever()), asyncio.create_task(fail())
    beginning.fail_with(cancelled)
    beginning.fail_with(failing)
    cancelled.cancel()

    with pytest.raises(FatalError, match="of a task"):
        await asyncio.wait_for(beginning.begun(), 5)


async def test_a_start_is_interrupted() -> None:
    """Whoever stops a service that waits for its neighbours does not wait with it."""
    beginning = Shutdown()
    asyncio.get_running_loop().call_soon(beginning.request)

    assert await asyncio.wait_for(beginning.interrupts(forever()), 5)


async def test_a_start_that_completes_is_not_interrupted() -> None:
    """Its error is the caller's."""

    async def fail() -> None:
        raise FatalError("at the start")

    beginning = Shutdown()
    assert not await beginning.interrupts(asyncio.sleep(0))
    with pytest.raises(FatalError, match="at the start"):
        await beginning.interrupts(fail())


async def test_what_ignores_its_cancellation_is_left_behind() -> None:
    """A client of aiokafka's did so while its broker was away."""
    is_over = asyncio.Event()

    async def stubborn() -> None:
        while not is_over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await is_over.wait()

    await asyncio.wait_for(close_within(0.01, stubborn()), 5)
    is_over.set()
    await asyncio.sleep(0.01)


async def test_a_fatal_error_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says that it failed, and the last line says why."""

    async def fail() -> ExitCode:
        raise FatalError("nothing can be promised")

    monkeypatch.setattr(program, "_tune_garbage_collector", lambda: None)
    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", lambda *_: None)

    assert await program.run(fail, Shutdown()) is ExitCode.FAILED
    assert capsys.readouterr().err == "nothing can be promised\n"
