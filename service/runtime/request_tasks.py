"""Sends the requests of the calls that the core starts; each ends as exactly one `CallEnded`."""

import asyncio

from service.core.effects import AllowRequest, CancelCall, RequestEffect, StartCall
from service.core.inputs import CANCELLED, Answer, CallEnded, PipelineInput, RequestWanted
from service.ports import AssetApi
from service.runtime.inbox import RunnerInbox


class RequestTasks:
    """Runs one task for each request in flight."""

    def __init__(self, api: AssetApi, inbox: RunnerInbox[PipelineInput]) -> None:
        self._api = api
        self._inbox = inbox
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._permits: dict[int, asyncio.Future[None]] = {}

    def perform(self, effect: RequestEffect) -> None:
        """Start or cancel a request, or let it go on."""
        match effect:
            case StartCall():
                self._tasks[effect.call_id] = asyncio.create_task(self._run(effect))
            case CancelCall(call_id):
                self.cancel(call_id)
            case AllowRequest(call_id):
                self.allow(call_id)

    def cancel(self, call_id: int) -> None:
        """Cancel the request of this call, if it is still in flight."""
        task = self._tasks.get(call_id)
        if task is not None:
            task.cancel()
            # A task that is cancelled before its first step never runs its own `except`.
            task.add_done_callback(lambda done: self._end(call_id, done, CANCELLED))

    def allow(self, call_id: int) -> None:
        """Let the additional request leave that this call asked for."""
        permit = self._permits.pop(call_id, None)
        if permit is not None and not permit.done():
            permit.set_result(None)

    async def close(self) -> None:
        """Cancel every request, and wait until all have ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, start: StartCall) -> None:
        task = asyncio.current_task()
        assert task is not None, "this is a coroutine of a task"
        try:
            answer = await self._api.send(
                start.request,
                start.origins,
                permit=lambda: self._permit(start.call_id),
                may_write=self._inbox.has_lease,
            )
        except asyncio.CancelledError:
            self._end(start.call_id, task, CANCELLED)
            raise
        except Exception as error:  # noqa: BLE001 - faults of the PIM are values: this is a bug
            self._inbox.fail(error)
        else:
            self._end(start.call_id, task, answer)

    def _end(self, call_id: int, task: asyncio.Task[None], answer: Answer) -> None:
        """Submit the end of the call, unless that was done already."""
        if self._tasks.get(call_id) is task:
            del self._tasks[call_id]
            self._permits.pop(call_id, None)
            self._inbox.submit(CallEnded(call_id, answer))

    async def _permit(self, call_id: int) -> None:
        """Wait until this call may send an additional request: it counts against the rate."""
        permit: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._permits[call_id] = permit
        self._inbox.submit(RequestWanted(call_id))
        await permit
