"""What the Python bridges share: addresses, events to a PATCH, its response to outcomes.

Calls are retried as careful users do it: after 429, 5xx and broken connections, with growing waits.
"""

import asyncio
import contextlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

BOOTSTRAP = os.environ["PEER_BOOTSTRAP"]
EVENTS = os.environ["PEER_EVENTS"]
OUTCOMES = os.environ["PEER_OUTCOMES"]
GROUP = os.environ["PEER_GROUP"]
URL = os.environ["PEER_PIM_URL"] + "/api/rest/v1/asset-families/"
HEADERS = {"authorization": f"Bearer {os.environ['PEER_PIM_TOKEN']}"}

ASSETS_PER_CALL = 100
CALLS_AT_ONCE = 4
BATCH_EVENTS = 2_000
"""Events of twenty families in a batch, so that a call has a hundred assets."""
BATCH_SECONDS = 2.0
SESSION_TIMEOUT_MS = 6_000
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Event:
    """A change and the id of its record."""

    id: str
    family: str
    code: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a change, as a record."""

    key: bytes
    value: bytes


def read(topic: str, partition: int, offset: int, value: dict[str, Any]) -> Event:
    """Return the event of a record: a structured CloudEvent, or what is its data in other forms."""
    record_id = f"{topic}/{partition}/{offset}"
    data = value.get("data", value)
    return Event(record_id, data["asset_family"], data["code"], data["values"])


def calls(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield calls of one family and up to a hundred events each."""
    families: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        families[event.family].append(event)
    for several in families.values():
        for begin in range(0, len(several), ASSETS_PER_CALL):
            yield several[begin : begin + ASSETS_PER_CALL]


def outcome(event: Event, status: str) -> Outcome:
    """Return the outcome record of an event."""
    content = {"id": event.id, "data": {"status": status}}
    return Outcome(f"{event.family}/{event.code}".encode(), json.dumps(content).encode())


class Pim:
    """A client for bridges with threads."""

    def __init__(self) -> None:
        self._client = httpx.Client(headers=HEADERS, timeout=TIMEOUT_SECONDS)

    def upsert(self, call: list[Event]) -> list[Outcome]:
        """Send one call, and retry it while that may help."""
        for wait in (*WAITS, None):
            reply = None
            with contextlib.suppress(httpx.HTTPError):
                reply = self._client.patch(_url(call), content=_body(call), headers=_JSON)
            if reply is not None and not _is_passing(reply):
                return _outcomes(call, reply)
            if wait is not None:
                time.sleep(_wait(reply, wait))
        return [outcome(event, "failed") for event in call]


class AsyncPim:
    """A client for bridges with an event loop."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(headers=HEADERS, timeout=TIMEOUT_SECONDS)
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)

    async def upsert(self, call: list[Event]) -> list[Outcome]:
        """Send one call, and retry it while that may help."""
        async with self._slots:
            for wait in (*WAITS, None):
                reply = None
                with contextlib.suppress(httpx.HTTPError):
                    reply = await self._client.patch(_url(call), content=_body(call), headers=_JSON)
                if reply is not None and not _is_passing(reply):
                    return _outcomes(call, reply)
                if wait is not None:
                    await asyncio.sleep(_wait(reply, wait))
        return [outcome(event, "failed") for event in call]


_JSON = {"content-type": "application/json"}


def _url(call: list[Event]) -> str:
    return f"{URL}{call[0].family}/assets"


def _body(call: list[Event]) -> bytes:
    return json.dumps(
        [
            {"code": event.code, "values": {name: _shaped(v) for name, v in event.values.items()}}
            for event in call
        ]
    ).encode()


def _shaped(value: object) -> list[dict[str, Any]]:
    """Return a bare value in the shape of the PIM."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return [{"locale": None, "channel": None, "data": str(value) if is_number else value}]


def _is_passing(reply: httpx.Response) -> bool:
    return reply.status_code == 429 or reply.status_code >= 500


def _wait(reply: httpx.Response | None, otherwise: float) -> float:
    seconds = reply.headers.get("retry-after", "") if reply is not None else ""
    return float(seconds) if seconds.isdigit() else otherwise


def _outcomes(call: list[Event], reply: httpx.Response) -> list[Outcome]:
    """Return one outcome per asset of a call."""
    if reply.status_code != 200:
        return [outcome(event, "rejected") for event in call]
    return [
        outcome(event, "applied" if item["status_code"] < 300 else "rejected")
        for event, item in zip(call, reply.json(), strict=True)
    ]
