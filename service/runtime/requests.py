"""Runs the calls that the core starts: each request ends as exactly one `CallEnded`."""

import asyncio
from collections.abc import Callable

from service.core.effects import StartCall
from service.core.inputs import CANCELLED, Answer, CallEnded, Input, RequestWanted
from service.ports import AssetApi


class RequestRunner:
    """One task a request in flight."""

    def __init__(
        self,
        api: AssetApi,
        submit: Callable[[Input], None],
        may_write: Callable[[], bool],
        fail: Callable[[Exception], None],
    ) -> None:
        self._api = api
        self._submit = submit
        self._may_write = may_write
        self._fail = fail
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._wanted: dict[int, asyncio.Future[None]] = {}

    def start(self, start: StartCall) -> None:
        """Send the request of a call."""
        self._tasks[start.call_id] = asyncio.create_task(self._run(start))

    def cut(self, call_id: int) -> None:
        """Give the request up, if it is still in flight."""
        task = self._tasks.get(call_id)
        if task is not None:
            task.cancel()
            # Cut before its first step, it runs nothing that could tell.
            task.add_done_callback(lambda done: self._end(call_id, done, CANCELLED))

    def allow(self, call_id: int) -> None:
        """The extra request that the call wanted may go out."""
        wanted = self._wanted.pop(call_id, None)
        if wanted is not None and not wanted.done():
            wanted.set_result(None)

    async def close(self) -> None:
        """Cut everything and wait until it is gone."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, start: StartCall) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            answer = await self._api.send(
                start.request,
                start.origins,
                permit=lambda: self._permit(start.call_id),
                may_write=self._may_write,
            )
        except asyncio.CancelledError:
            self._end(start.call_id, task, CANCELLED)
            raise
        except Exception as error:  # noqa: BLE001 - our bug, whatever it is: faults are values
            self._fail(error)
        else:
            self._end(start.call_id, task, answer)

    def _end(self, call_id: int, task: asyncio.Task[None], answer: Answer) -> None:
        """Tell how the request ended, unless that was told."""
        if self._tasks.get(call_id) is task:
            del self._tasks[call_id]
            self._wanted.pop(call_id, None)
            self._submit(CallEnded(call_id, answer))

    async def _permit(self, call_id: int) -> None:
        """Wait until one more request of this call may leave (it takes from the rate)."""
        wanted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wanted[call_id] = wanted
        self._submit(RequestWanted(call_id))
        await wanted
