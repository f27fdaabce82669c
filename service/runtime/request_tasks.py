"""Sends the requests of the calls that the core starts; each ends as exactly one `CallEnded`."""

import asyncio
from collections.abc import Awaitable

from service.core.effects import AllowRequest, CancelCall, RequestEffect, StartCall
from service.core.inputs import CANCELLED, Answer, CallEnded, PipelineInput, RequestWanted
from service.ports import AssetApi
from service.runtime.inbox import RunnerInbox
from service.runtime.numbered_tasks import NumberedTasks


class RequestTasks:
    """Runs one task for each request in flight."""

    def __init__(self, api: AssetApi, inbox: RunnerInbox[PipelineInput]) -> None:
        self._api = api
        self._inbox = inbox
        self._tasks = NumberedTasks[StartCall, Answer](
            inbox, work=self._send, cancelled=CANCELLED, report=CallEnded
        )
        self._permits: dict[int, asyncio.Future[None]] = {}

    def perform(self, effect: RequestEffect) -> None:
        """Start or cancel a request, or let it go on."""
        match effect:
            case StartCall(call_id):
                self._tasks.start(call_id, effect)
            case CancelCall(call_id):
                self._tasks.cancel(call_id)
            case AllowRequest(call_id):
                self._allow(call_id)

    async def close(self) -> None:
        """Cancel every request, and wait until all have ended."""
        await self._tasks.close()

    def _send(self, start: StartCall) -> Awaitable[Answer]:
        return self._api.send(
            start.request,
            start.origins,
            permit=lambda: self._permit(start.call_id),
            may_write=self._inbox.has_lease,
        )

    def _allow(self, call_id: int) -> None:
        """Let the additional request leave that this call asked for."""
        permit = self._permits.get(call_id)
        if permit is not None and not permit.done():
            permit.set_result(None)

    async def _permit(self, call_id: int) -> None:
        """Wait until this call may send an additional request: it counts against the rate."""
        permit = self._permits[call_id] = asyncio.get_running_loop().create_future()
        self._inbox.submit(RequestWanted(call_id))
        try:
            await permit
        finally:
            del self._permits[call_id]
