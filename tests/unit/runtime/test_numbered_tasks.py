"""Tasks by number: each ends once, and a bug in one ends the program."""

import asyncio

import pytest

from service.core.inputs import DownloadEnd, DownloadEnded, DownloadFault, PipelineInput
from service.runtime.inbox import RunnerInbox
from service.runtime.numbered_tasks import NumberedTasks
from tests.support.standing_clock import StandingClock

CANCELLED = DownloadFault("cancelled", is_cancelled=True)


class Work:
    """Work whose start says how it goes on: `slow` never ends, any other is its own end."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    async def __call__(self, start: str) -> DownloadEnd:
        match start:
            case "slow":
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    self.cancelled.append(start)
            case "bug":
                raise AssertionError("our bug")
            case "cancelled by a library":
                raise asyncio.CancelledError
        return DownloadFault(start)


class Tasks:
    """Tasks with such work, and the inbox that they report to."""

    def __init__(self) -> None:
        self.inbox = RunnerInbox[PipelineInput](StandingClock())
        self.work = Work()
        self.tasks = NumberedTasks[str, DownloadEnd](
            self.inbox, work=self.work, cancelled=CANCELLED, report=DownloadEnded
        )

    async def reported(self) -> list[object]:
        """What was reported once everything that can run has run."""
        for _ in range(3):
            await asyncio.sleep(0)
        return list(self.inbox.take())


async def test_each_task_ends_once_with_its_number() -> None:
    made = Tasks()
    made.tasks.start(1, "a")
    made.tasks.start(2, "b")
    found = await made.reported()

    assert found == [DownloadEnded(1, DownloadFault("a")), DownloadEnded(2, DownloadFault("b"))]
    assert await made.reported() == []
    await made.tasks.close()


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_cancelled_task_ends_once(*, has_begun: bool) -> None:
    """Also before its first step, and where it is cancelled twice; its number is free again."""
    made = Tasks()
    made.tasks.start(1, "slow")
    if has_begun:
        await asyncio.sleep(0)
    made.tasks.cancel(1)
    made.tasks.cancel(1)

    assert await made.reported() == [DownloadEnded(1, CANCELLED)]
    made.tasks.start(1, "again")
    assert await made.reported() == [DownloadEnded(1, DownloadFault("again"))]
    made.tasks.cancel(1)
    assert await made.reported() == []
    await made.tasks.close()


async def test_a_task_that_a_library_cancels_ends_too() -> None:
    """Else its number would be in flight for ever."""
    made = Tasks()
    made.tasks.start(1, "cancelled by a library")

    assert await made.reported() == [DownloadEnded(1, CANCELLED)]
    await made.tasks.close()


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_what_is_in_flight_is_cancelled_at_the_end(*, is_cancelled: bool) -> None:
    """Nothing is reported any more, even if it was cancelled right before."""
    made = Tasks()
    made.tasks.start(1, "slow")
    await asyncio.sleep(0)
    if is_cancelled:
        made.tasks.cancel(1)
    await made.tasks.close()

    assert made.work.cancelled == ["slow"]
    assert await made.reported() == []


async def test_a_bug_ends_the_runner() -> None:
    """Failures of operation are values, so an exception is not one of them."""
    made = Tasks()
    made.tasks.start(1, "bug")
    await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="our bug"):
        await made.inbox.wait(0.0)
    await made.tasks.close()
