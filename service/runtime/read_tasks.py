"""Sends the reads that a translator starts; each ends as exactly one `ReadAnswered`."""

import asyncio

from service.ports import DamHosts
from service.runtime.inbox import RunnerInbox
from service.translation.messages import ReadAnswered
from service.translation.reads import StartRead


class ReadTasks:
    """Runs one task for each read in flight."""

    def __init__(self, hosts: DamHosts, inbox: RunnerInbox[ReadAnswered]) -> None:
        self._hosts = hosts
        self._inbox = inbox
        self._tasks: set[asyncio.Task[None]] = set()

    def perform(self, effect: StartRead) -> None:
        """Start a read. It is never cancelled but by `close`: its answer may be ignored."""
        task = asyncio.create_task(self._run(effect))
        self._tasks.add(task)  # the event loop itself keeps no task alive
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel every read, and wait until all have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, start: StartRead) -> None:
        try:
            answer = await self._hosts.get(start.host, start.url)
        except Exception as error:  # noqa: BLE001 - faults of a host are values: this is a bug
            self._inbox.fail(error)
        else:
            self._inbox.submit(ReadAnswered(start.number, answer))
