"""Downloads the files that the core asks for; each download ends as exactly one `DownloadEnded`."""

import asyncio

from service.core.effects import CancelDownload, DropFile, MediaEffect, StartDownload
from service.core.inputs import DownloadEnd, DownloadEnded, DownloadFault, PipelineInput
from service.ports import Downloads
from service.runtime.inbox import RunnerInbox

CANCELLED = DownloadFault("Cancelled by asset-sync.", is_cancelled=True)


class DownloadTasks:
    """Runs one task for each download."""

    def __init__(self, downloads: Downloads, inbox: RunnerInbox[PipelineInput]) -> None:
        self._downloads = downloads
        self._inbox = inbox
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def perform(self, effect: MediaEffect) -> None:
        """Start or cancel a download, or remove what one left on disk."""
        match effect:
            case StartDownload():
                self._tasks[effect.file_id] = asyncio.create_task(self._run(effect))
            case CancelDownload(file_id):
                self._cancel(file_id)
            case DropFile(file_id):
                self._downloads.drop(file_id)

    async def close(self) -> None:
        """Cancel every download, and wait until all have ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cancel(self, file_id: int) -> None:
        task = self._tasks.get(file_id)
        if task is not None:
            task.cancel()
            # A task that is cancelled before its first step never runs its own `except`.
            task.add_done_callback(lambda done: self._end(file_id, done, CANCELLED))

    async def _run(self, start: StartDownload) -> None:
        task = asyncio.current_task()
        assert task is not None, "this is a coroutine of a task"
        try:
            end = await self._downloads.download(start)
        except Exception as error:  # noqa: BLE001 - faults of a source are values: this is a bug
            self._inbox.fail(error)
        else:
            self._end(start.file_id, task, end)

    def _end(self, file_id: int, task: asyncio.Task[None], end: DownloadEnd) -> None:
        """Submit the end of the download, unless that was done already."""
        if self._tasks.get(file_id) is task:
            del self._tasks[file_id]
            self._inbox.submit(DownloadEnded(file_id, end))
