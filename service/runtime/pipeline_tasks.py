"""All that the pipeline of `run` starts: calls to the PIM, and downloads where media are on."""

import asyncio

from service.core.effects import AllowRequest, CancelCall, PipelineEffect, StartCall
from service.runtime.download_tasks import DownloadTasks
from service.runtime.request_tasks import RequestTasks


class PipelineTasks:
    """The `Requests` of the pipeline."""

    def __init__(self, requests: RequestTasks, downloads: DownloadTasks | None) -> None:
        self._requests = requests
        self._downloads = downloads

    def perform(self, effect: PipelineEffect) -> None:
        match effect:
            case StartCall() | CancelCall() | AllowRequest():
                self._requests.perform(effect)
            case _:
                assert self._downloads is not None, "without a host, no file is downloaded"
                self._downloads.perform(effect)

    async def close(self) -> None:
        """Cancel every call and download, and wait until all have ended."""
        await asyncio.gather(
            self._requests.close(), *([self._downloads.close()] if self._downloads else [])
        )
