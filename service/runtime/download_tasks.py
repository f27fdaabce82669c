"""Downloads the files that the core asks for; each download ends as exactly one `DownloadEnded`."""

from service.core.effects import CancelDownload, DropFile, MediaEffect, StartDownload
from service.core.inputs import DownloadEnd, DownloadEnded, DownloadFault, PipelineInput
from service.ports import Downloads
from service.runtime.inbox import RunnerInbox
from service.runtime.numbered_tasks import NumberedTasks

CANCELLED = DownloadFault("Cancelled by asset-sync.", is_cancelled=True)


class DownloadTasks:
    """Runs one task for each download."""

    def __init__(self, downloads: Downloads, inbox: RunnerInbox[PipelineInput]) -> None:
        self._downloads = downloads
        self._tasks = NumberedTasks[StartDownload, DownloadEnd](
            inbox, work=downloads.download, cancelled=CANCELLED, report=DownloadEnded
        )

    def perform(self, effect: MediaEffect) -> None:
        """Start or cancel a download, or remove what one left on disk."""
        match effect:
            case StartDownload(file_id):
                self._tasks.start(file_id, effect)
            case CancelDownload(file_id):
                self._tasks.cancel(file_id)
            case DropFile(file_id):
                self._downloads.drop(file_id)

    async def close(self) -> None:
        """Cancel every download, and wait until all have ended."""
        await self._tasks.close()
