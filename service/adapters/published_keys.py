"""Fetches the certificates and keys with which Amazon and Adobe sign, and confirms subscriptions.

Rule 1: the caller has checked the URL: the hosts are those of Amazon and Adobe. No setting changes
that. TLS is verified, the host's addresses must be public, and redirects are not followed.
Rule 2: a stranger can make asset-sync fetch, because the fetch comes before the verdict. So at most
`FETCHES_AT_ONCE_MAX` run, one for each URL, and only keys that were found are kept: an error page
that is answered with 200 would else stand for the key for a day.
"""

import asyncio
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable

import httpcore2
import httpx2

from service.adapters.http_client import TooLargeError, exchange, in_words
from service.adapters.network import PublicNetwork
from service.adapters.transport import Transport
from service.core.facts import Fact
from service.webhooks.facts import KeyFetched, KeyNotFetched
from service.webhooks.schemes.published_keys import rsa_key

KEYS_MAX = 16
KEY_SECONDS_MAX = 24 * 3600.0
"""How long a fetched key is used before it is fetched again."""
KEY_BYTES_MAX = 64 * 1024
FETCH_SECONDS_MAX = 5.0
FETCHES_AT_ONCE_MAX = 4

_HEADERS = {"accept-encoding": "identity", "user-agent": "asset-sync"}


class HttpPublishedKeys:
    """The port `PublishedKeys` over HTTPS."""

    def __init__(
        self,
        note: Callable[[Fact], None],
        tls: ssl.SSLContext | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._note = note
        self._transport = Transport(tls or ssl.create_default_context(), network or PublicNetwork())
        self._now = now
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        """URL → when it was fetched and the key; the one that was used last is at the end."""
        self._fetching: dict[str, asyncio.Task[bytes | None]] = {}
        self._running = 0

    async def get(self, url: str) -> bytes | None:
        """Return the key at this URL, at most a day old; None if it is not available now."""
        if (kept := self._kept_key(url)) is not None:
            return kept
        fetching = self._fetching.get(url)
        if fetching is None:
            fetching = asyncio.create_task(self._fetch_and_keep(url))
            self._fetching[url] = fetching
            fetching.add_done_callback(lambda _: self._fetching.pop(url))
        # The sender that asked first may go away; the others still wait for the key.
        return await asyncio.shield(fetching)

    async def confirm(self, url: str) -> bool:
        """Fetch the URL that confirms a subscription; return whether it was answered with 200."""
        return await self._fetch(url) is not None

    async def close(self) -> None:
        for fetching in self._fetching.values():
            fetching.cancel()
        await self._transport.aclose()

    def _kept_key(self, url: str) -> bytes | None:
        fetched_at, key = self._kept.get(url, (0.0, None))
        if key is None or self._now() - fetched_at > KEY_SECONDS_MAX:
            return None
        self._kept.move_to_end(url)
        return key

    async def _fetch_and_keep(self, url: str) -> bytes | None:
        key = await self._fetch(url)
        if key is None:
            return None
        if rsa_key(key) is None:
            self._note(KeyNotFetched(url, "The answer is neither a certificate nor a key."))
            return None
        self._note(KeyFetched(url))
        self._kept[url] = (self._now(), key)
        self._kept.move_to_end(url)
        if len(self._kept) > KEYS_MAX:
            self._kept.popitem(last=False)
        return key

    async def _fetch(self, url: str) -> bytes | None:
        """Return what the URL answers with 200; None, with a fact, for anything else."""
        if self._running >= FETCHES_AT_ONCE_MAX:
            answer: bytes | str = f"{FETCHES_AT_ONCE_MAX} other fetches are running."
        else:
            self._running += 1
            try:
                answer = await self._ask(url)
            finally:
                self._running -= 1
        if isinstance(answer, bytes):
            return answer
        self._note(KeyNotFetched(url.partition("?")[0], answer))
        return None

    async def _ask(self, url: str) -> bytes | str:
        """Return the body of the answer, or why there is none."""
        request = httpx2.Request("GET", url, headers=_HEADERS)
        try:
            async with asyncio.timeout(FETCH_SECONDS_MAX):
                reply = await exchange(self._transport, request, KEY_BYTES_MAX)
        except TimeoutError:
            return f"There was no answer within {FETCH_SECONDS_MAX:g} s."
        except TooLargeError:
            return f"The answer has more than {KEY_BYTES_MAX} bytes."
        except Exception as error:  # noqa: BLE001 - whatever the connection or the answer causes
            return in_words(error)
        return reply.body if reply.status == httpx2.codes.OK else f"The answer was {reply.status}."
