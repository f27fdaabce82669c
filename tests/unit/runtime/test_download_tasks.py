"""The downloads of the pipeline: each is started, cancelled and dropped by its number."""

import asyncio
from dataclasses import dataclass, field

from service.core.effects import CancelDownload, DropFile, StartDownload
from service.core.inputs import (
    Downloaded,
    DownloadEnd,
    DownloadEnded,
    DownloadRefused,
    PipelineInput,
)
from service.runtime.download_tasks import CANCELLED, DownloadTasks
from service.runtime.inbox import RunnerInbox
from tests.support.standing_clock import StandingClock

FOUND = Downloaded("0" * 64, 7)


@dataclass
class ScriptedDownloads:
    """Sources that answer by the URL: `slow` never."""

    dropped: list[int] = field(default_factory=list)

    async def download(self, start: StartDownload) -> DownloadEnd:
        if start.url == "slow":
            await asyncio.get_running_loop().create_future()
        return DownloadRefused("gone") if start.url == "gone" else FOUND

    def drop(self, file_id: int) -> None:
        self.dropped.append(file_id)


async def test_each_effect_reaches_its_download() -> None:
    """By the number that it was started with, under which what is on disk is removed too."""
    inbox = RunnerInbox[PipelineInput](StandingClock())
    downloads = ScriptedDownloads()
    made = DownloadTasks(downloads, inbox)
    for number, url in enumerate(("found", "gone", "slow"), 1):
        made.perform(StartDownload(number, url, bytes_max=100))
    await asyncio.sleep(0)
    assert list(inbox.take()) == [
        DownloadEnded(1, FOUND),
        DownloadEnded(2, DownloadRefused("gone")),
    ]

    made.perform(DropFile(1))
    made.perform(CancelDownload(3))
    await asyncio.sleep(0)
    assert downloads.dropped == [1]
    assert list(inbox.take()) == [DownloadEnded(3, CANCELLED)]
    await made.close()
