"""The downloads of the pipeline: each ends once, and a bug in one ends the program."""

import asyncio
from dataclasses import dataclass, field

import pytest

from service.core.effects import CancelDownload, DropFile, StartDownload
from service.core.inputs import (
    Downloaded,
    DownloadEnd,
    DownloadEnded,
    DownloadRefused,
    PipelineInput,
)
from service.core.model import Moment
from service.runtime.download_tasks import CANCELLED, DownloadTasks
from service.runtime.inbox import RunnerInbox

FOUND = Downloaded("0" * 64, 7)


class StandingClock:
    """A clock that stands."""

    def now(self) -> Moment:
        return Moment(0.0, 0)


@dataclass
class ScriptedDownloads:
    """Sources that answer by the URL: `slow` never, `bug` with an exception."""

    dropped: list[int] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)

    async def download(self, start: StartDownload) -> DownloadEnd:
        if start.url == "slow":
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.cancelled.append(start.file_id)
        if start.url == "bug":
            raise AssertionError("our bug")
        return DownloadRefused("gone") if start.url == "gone" else FOUND

    def drop(self, file_id: int) -> None:
        self.dropped.append(file_id)


def start(file_id: int, url: str) -> StartDownload:
    """Ask for a file."""
    return StartDownload(file_id, url, is_private=False, bytes_max=100)


async def tasks() -> tuple[DownloadTasks, ScriptedDownloads, RunnerInbox[PipelineInput]]:
    """Tasks for these sources, and the inbox that they report to."""
    inbox = RunnerInbox[PipelineInput](StandingClock())
    downloads = ScriptedDownloads()
    return DownloadTasks(downloads, inbox), downloads, inbox


async def test_each_download_ends_once() -> None:
    """With the number that it was started with; then what is on disk can be removed."""
    made, downloads, inbox = await tasks()
    made.perform(start(1, "found"))
    made.perform(start(2, "gone"))
    await asyncio.sleep(0)

    assert list(inbox.take()) == [
        DownloadEnded(1, FOUND),
        DownloadEnded(2, DownloadRefused("gone")),
    ]
    made.perform(DropFile(1))
    assert downloads.dropped == [1]
    await made.close()


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_cancelled_download_ends_once(*, has_begun: bool) -> None:
    """Also before its first step, and where it is cancelled twice; later ones are untouched."""
    made, _, inbox = await tasks()
    made.perform(start(1, "slow"))
    if has_begun:
        await asyncio.sleep(0)
    made.perform(CancelDownload(1))
    made.perform(CancelDownload(1))
    for _ in range(3):
        await asyncio.sleep(0)

    assert list(inbox.take()) == [DownloadEnded(1, CANCELLED)]
    made.perform(start(1, "found"))
    await asyncio.sleep(0)
    assert list(inbox.take()) == [DownloadEnded(1, FOUND)]
    made.perform(CancelDownload(1))
    await asyncio.sleep(0)
    assert list(inbox.take()) == []
    await made.close()


async def test_what_is_under_way_is_cancelled_at_the_end() -> None:
    """Nothing is reported any more."""
    made, downloads, inbox = await tasks()
    made.perform(start(1, "slow"))
    await asyncio.sleep(0)
    await asyncio.wait_for(made.close(), 5)

    assert downloads.cancelled == [1]
    assert list(inbox.take()) == []


async def test_a_bug_ends_the_runner() -> None:
    """Faults of a source are values, so an exception is not one of them."""
    made, _, inbox = await tasks()
    made.perform(start(1, "bug"))
    await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="our bug"):
        await inbox.wait(0.0)
    await made.close()
