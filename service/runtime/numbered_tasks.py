"""The tasks of what the core starts by a number and may cancel by it: requests and downloads.

Rule 1: what was started ends as exactly one input, however it ends; after `close`, as none.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from service.core.inputs import PipelineInput
from service.runtime.inbox import RunnerInbox

Start = TypeVar("Start")
End = TypeVar("End")


class NumberedTasks(Generic[Start, End]):
    """Runs one task for each number."""

    def __init__(
        self,
        inbox: RunnerInbox[PipelineInput],
        *,
        work: Callable[[Start], Awaitable[End]],
        cancelled: End,
        report: Callable[[int, End], PipelineInput],
    ) -> None:
        """Prepare tasks of one kind.

        Args:
            inbox: where the ends are submitted.
            work: what a task does. Its failures of operation are values: an exception is a bug,
                and ends the runner.
            cancelled: how a task ends that was cancelled.
            report: makes the input that reports the end of a number.
        """
        self._inbox = inbox
        self._work = work
        self._cancelled = cancelled
        self._report = report
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def start(self, number: int, start: Start) -> None:
        """Start a task under a number that has none in flight."""
        self._tasks[number] = asyncio.create_task(self._run(number, start))

    def cancel(self, number: int) -> None:
        """Cancel the task of this number, if it is still in flight."""
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()
            # A task that is cancelled before its first step never runs its own `except`.
            task.add_done_callback(lambda done: self._end(number, done, self._cancelled))

    async def close(self) -> None:
        """Cancel every task, and wait until all have ended; they report nothing any more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, number: int, start: Start) -> None:
        task = asyncio.current_task()
        assert task is not None, "this is a coroutine of a task"
        try:
            end = await self._work(start)
        except asyncio.CancelledError:
            self._end(number, task, self._cancelled)
            raise
        except Exception as error:  # noqa: BLE001 - failures of operation are values: this is a bug
            self._inbox.fail(error)
        else:
            self._end(number, task, end)

    def _end(self, number: int, task: asyncio.Task[None], end: End) -> None:
        """Submit the end of the task, unless that was done already."""
        if self._tasks.get(number) is task:
            del self._tasks[number]
            self._inbox.submit(self._report(number, end))
