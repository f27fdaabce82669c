"""Fills the index from the outcomes topic, for as long as the console runs.

Rule 1: what is read is written with the positions behind it, in one transaction of the index. So a
crash at any moment loses nothing and doubles nothing.
Rule 2: an index that is damaged, or whose topic was created again, is built from the beginning.
"""

import time
from collections.abc import Callable

from service.console.facts import WhyRebuilt
from service.ports import OutcomeFeed, OutcomeStore


class Indexer:
    """Carries outcomes from the topic into the index."""

    def __init__(
        self, feed: OutcomeFeed, store: OutcomeStore, progressed: Callable[[], None] = lambda: None
    ) -> None:
        """`progressed` is called after each read and write, and when the index is open."""
        self._feed = feed
        self._store = store
        self._progressed = progressed
        self._progressed_at = time.monotonic()
        self.is_open = False
        """Whether the index has been opened, so that it can be searched."""

    @property
    def quiet_seconds(self) -> float:
        """How long no read, be it of nothing, and no write has ended."""
        return time.monotonic() - self._progressed_at

    async def run(self) -> None:
        """Index without end.

        Raises:
            FatalError: the index's folder or the topic cannot be used.
        """
        why: WhyRebuilt | None = None
        while True:
            positions = await self._store.open(await self._feed.identify(), why)
            self.is_open = True
            self._note_progress()
            why = await self._follow() if await self._feed.begin(positions) else "positions"

    async def _follow(self) -> WhyRebuilt:
        """Index until the index has to be built again, and return why."""
        while (batch := await self._feed.read()) is not None:
            # A batch of nothing too: damage that a search met is repaired though nothing comes.
            if not await self._store.write(batch):
                return "damaged"
            self._note_progress()
        return "topic"

    def _note_progress(self) -> None:
        self._progressed_at = time.monotonic()
        self._progressed()
