"""Access tokens: kept until they are due for renewal, and fetched once however many calls wait."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

RENEW_SHARE = 0.9
"""Share of a token's lifetime after which it is renewed, so that no call sees it expire."""

TOKEN_CHARACTERS_MAX = 16 * 1024
"""Longest token that is accepted: each request carries it in a header."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; `expires_in` is in seconds, and None for a token without an end."""

    access: str
    refresh: str | None = None
    expires_in: float | None = None

    def __repr__(self) -> str:
        # A log or a traceback may show this object.
        return "Token(**********)"

    @property
    def renew_in(self) -> float | None:
        """Seconds after which to renew the token."""
        return None if self.expires_in is None else self.expires_in * RENEW_SHARE


class TokenKeeper:
    """The token in use, shared by concurrent calls."""

    def __init__(self) -> None:
        self._fetching = asyncio.Lock()
        self._token: Token | None = None
        self._renew_at: float | None = None
        """When to renew the token, in seconds of the monotonic clock."""
        self._failures = 0
        self._failure: Exception | None = None
        """How the last fetch failed, if it did."""

    async def get(self, fetch: Callable[[], Awaitable[Token]]) -> Token:
        """Return the token, fetched if there is none; concurrent calls wait for one fetch.

        They share its failure too: if each tried again, the last would wait for the timeouts of
        all, and a server that refuses the credentials would be asked once for each.
        """
        if (token := self._usable()) is not None:
            return token
        failures = self._failures
        async with self._fetching:
            if (token := self._usable()) is not None:
                return token
            if self._failure is not None and self._failures > failures:
                raise self._failure.with_traceback(None)
            return await self._fetch(fetch)

    def drop(self, token: Token) -> None:
        """Forget a token that was refused, unless another call has already renewed it."""
        if self._token == token:
            self._token = None

    async def _fetch(self, fetch: Callable[[], Awaitable[Token]]) -> Token:
        try:
            token = await fetch()
        except Exception as error:
            self._failures += 1
            self._failure = error
            raise
        self._token, self._failure = token, None
        self._renew_at = None if token.renew_in is None else time.monotonic() + token.renew_in
        return token

    def _usable(self) -> Token | None:
        if self._renew_at is not None and time.monotonic() >= self._renew_at:
            return None
        return self._token
