"""The calls in flight: each holds one slot of the gate from its first request to its end.

A call may take several requests in its slot (see exchange.py). Between two of them it has no
request out: it waits for the rate, and only this file knows about it.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.core.effects import AllowRequest, CancelCall, StartCall
from service.core.facts import PimThrottled, PimThrottlingEnded
from service.core.group.asset_work import AssetWork
from service.core.inputs import Answer, CallFault, CallReply, FaultKind
from service.core.news import News
from service.core.recover.call import Call
from service.core.requests import Exchange
from service.core.send.exchange import log_in
from service.core.send.gate import Gate
from service.core.send.structure_cache import SideRequest

LOGIN_CALL_ID = 0
"""The id of the first call of all. It carries no change: it shows wrong credentials at once."""


@dataclass(slots=True)
class Login:
    """The first call of all: nothing waits for it."""

    exchange: Exchange[Answer] = field(default_factory=lambda: Exchange(log_in()))


class Slots:
    """Writes and side requests in flight, and which of them want to send a request."""

    def __init__(self, gate: Gate, news: News) -> None:
        self._gate = gate
        self._news = news
        self.writes: dict[int, Call] = {}
        self.side_requests: dict[int, SideRequest | Login] = {}
        self._next: deque[tuple[int, bool]] = deque()
        """Calls that want one more request, in order; True where it is for a token."""

    @property
    def is_side_request_out(self) -> bool:
        """Whether any side request but the login is in flight."""
        return any(call_id != LOGIN_CALL_ID for call_id in self.side_requests)

    def works(self) -> Iterator[AssetWork]:
        """Yield the work of every asset that is in flight."""
        for call in self.writes.values():
            yield from call.batch

    # --- requests ----------------------------------------------------------------------------

    def start_write(self, call: Call, now: float, *, repair: bool) -> None:
        """Send the next request of a write: the write itself, or a check that follows it."""
        assert call.exchange is not None
        self._gate.start(call.id, now, repair=repair, upload=call.upload is not None)
        self.writes[call.id] = call
        origins = () if call.exchange.has_begun else call.origins()
        self._news.append(StartCall(call.id, call.exchange.request, origins))

    def start_side_request(self, call_id: int, side: SideRequest | Login, now: float) -> None:
        """Send the next request of a call that carries no change."""
        self._gate.start(call_id, now, repair=False)
        self.side_requests[call_id] = side
        self._news.append(StartCall(call_id, side.exchange.request))

    def want_token(self, call_id: int) -> None:
        """Let a call wait for one more request, for a token, before its own goes on."""
        if call_id in self._gate.in_flight:
            self._next.append((call_id, True))

    def want_next(self, call_id: int) -> None:
        """Let a call wait to send the next request of its exchange."""
        self._next.append((call_id, False))

    def send_waiting(self, now: float) -> None:
        """Send what calls in flight want to send, as far as the rate allows it."""
        while self._next and self._gate.may_send(now):
            call_id, is_token = self._next.popleft()
            if call_id not in self._gate.in_flight:
                continue
            self._gate.send(now)
            self._news.append(AllowRequest(call_id) if is_token else self._request_of(call_id))

    def _request_of(self, call_id: int) -> StartCall:
        if call_id in self.side_requests:
            return StartCall(call_id, self.side_requests[call_id].exchange.request)
        exchange = self.writes[call_id].exchange
        assert exchange is not None
        return StartCall(call_id, exchange.request)

    # --- ends --------------------------------------------------------------------------------

    def throttle(self, call_id: int, retry_after_seconds: float | None, now: float) -> None:
        """Close the gate after a 429."""
        if self._gate.throttle(call_id, now, retry_after_seconds):
            seconds = (self._gate.closed_until or now) - now
            self._news.append(PimThrottled(round(seconds, 3)))

    def release(self, call_id: int, answer: Answer) -> None:
        """End a call: its slot is free."""
        self.writes.pop(call_id, None)
        self.side_requests.pop(call_id, None)
        if _shows_pim(answer) and self._gate.answered(call_id):
            self._news.append(PimThrottlingEnded())
        self._gate.end(call_id)

    def cancel_requests(self) -> None:
        """Cancel every request that is out; each ends with `CANCELLED`."""
        for call_id in self._gate.in_flight.difference(self._between_requests()):
            self._news.append(CancelCall(call_id))

    def take_between_requests(self) -> list[int]:
        """Return the calls that wait between two requests; they wait no longer."""
        waiting = self._between_requests()
        for call_id in waiting:
            self._next.remove((call_id, False))
        return waiting

    def stop_side_requests(self) -> None:
        """End side requests that wait between two requests; the others end with their answer."""
        for call_id in self._between_requests():
            if call_id in self.side_requests:
                self._next.remove((call_id, False))
                del self.side_requests[call_id]
                self._gate.end(call_id)

    def forget(self) -> None:
        """Cancel everything: the assignment is over."""
        for call_id in self._between_requests():
            self._gate.end(call_id)
        self._next.clear()
        self.cancel_requests()
        self.writes.clear()
        self.side_requests.clear()

    def _between_requests(self) -> list[int]:
        return [call_id for call_id, is_token in self._next if not is_token]


def _shows_pim(answer: Answer) -> bool:
    """Return whether the end of a request shows that the PIM throttles it no more."""
    is_local = isinstance(answer, CallFault) and answer.kind.is_local
    return not is_local and not is_no_answer(answer)


def is_no_answer(answer: Answer) -> bool:
    """Return whether the request was throttled or cancelled, which is not a failure of it."""
    if isinstance(answer, CallReply):
        return answer.status == 429
    return answer.kind is FaultKind.CANCELLED
