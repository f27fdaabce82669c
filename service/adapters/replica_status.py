"""Asks the replicas of `run` for the data of their status page, each address of each name.

A name such as that of a headless Service is resolved each time, so that replicas come and go.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

import httpx2

from service.adapters.http_client import HEADERS, TooLargeError, exchange, in_words
from service.adapters.network import Network
from service.adapters.transport import Transport
from service.console.facts import ReplicaUnreachable
from service.console.waiting import Replica, Unreachable, Waiting, read_replica
from service.core.facts import Fact

ANSWER_SECONDS_MAX = 2.0
"""How long a replica may take; a person waits for the slowest one."""
ANSWER_BYTES_MAX = 4 * 1024 * 1024
REPLICAS_MAX = 100
KEPT_SECONDS = 1.0
"""Readers who come within this time share an answer, so that they do not load the replicas."""

Place = tuple[str, int]
"""A host name or an address, and a port."""


class HttpReplicas:
    """The port `Replicas` over HTTP."""

    def __init__(self, places: Sequence[Place], note: Callable[[Fact], None]) -> None:
        self._places = places
        self._note = note
        self._transport = Transport(ssl.create_default_context(), Network())
        self._asking: asyncio.Task[Waiting] | None = None
        self._asked_at = float("-inf")

    async def ask(self) -> Waiting:
        """Ask all replicas at once, or return what others were told a moment ago."""
        if self._asking is None or time.monotonic() - self._asked_at > KEPT_SECONDS:
            self._asked_at = time.monotonic()
            self._asking = asyncio.create_task(self._ask_all())
        return await asyncio.shield(self._asking)

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        await self._transport.aclose()

    async def _ask_all(self) -> Waiting:
        resolved = await asyncio.gather(*map(_resolve, self._places))
        unreachable = [one for found in resolved for one in found if isinstance(one, Unreachable)]
        addresses = dict.fromkeys(
            one for found in resolved for one in found if not isinstance(one, Unreachable)
        )
        answers = await asyncio.gather(*map(self._ask, list(addresses)[:REPLICAS_MAX]))
        unreachable += [answer for answer in answers if isinstance(answer, Unreachable)]
        for one in unreachable:
            self._note(ReplicaUnreachable(one.address, one.why))
        replicas = tuple(answer for answer in answers if isinstance(answer, Replica))
        return Waiting(replicas, tuple(unreachable))

    async def _ask(self, address: str) -> Replica | Unreachable:
        """Return what one replica says, or why it says nothing."""
        request = httpx2.Request("GET", f"http://{address}/status", headers=HEADERS)
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                reply = await exchange(self._transport, request, ANSWER_BYTES_MAX)
        except TimeoutError:
            return Unreachable(address, f"no answer within {ANSWER_SECONDS_MAX:g} s.")
        except TooLargeError:
            return Unreachable(address, f"its answer has more than {ANSWER_BYTES_MAX} bytes.")
        except Exception as error:  # noqa: BLE001 - whatever the connection or the answer causes
            return Unreachable(address, in_words(error))
        if reply.status == HTTPStatus.NOT_FOUND:
            why = "it does not show its status: set ASSET_SYNC_HTTP__STATUS_PAGE=true for `run`."
            return Unreachable(address, why)
        state = read_replica(reply.body) if reply.status == HTTPStatus.OK else None
        return state or Unreachable(address, f"its answer ({reply.status}) is not a status.")


async def _resolve(place: Place) -> list[str | Unreachable]:
    """Return the addresses of a name, as a URL has them, or why there are none."""
    host, port = place
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return [Unreachable(host, f"its name was not resolved within {ANSWER_SECONDS_MAX:g} s.")]
    except (OSError, UnicodeError) as error:
        return [Unreachable(host, f"its name cannot be resolved: {error}.")]
    return [
        f"[{address[0]}]:{port}" if family == socket.AF_INET6 else f"{address[0]}:{port}"
        for family, *_, address in found
    ]
