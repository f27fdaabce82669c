"""Runs the index in threads, because its files block: one thread writes, and some search."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service.adapters.outcome_index.index import OutcomeIndex
from service.adapters.outcome_index.search import Searcher
from service.adapters.outcome_index.searchable import Searchable
from service.console.facts import WhyRebuilt
from service.console.hits import Hits
from service.console.query import Query
from service.ports import OutcomeBatch

SEARCH_THREADS = 3
SWITCH_SECONDS = 0.0005
"""After how long a thread lets another one run (Python's default: 5 ms).

SQLite lets other threads run at every step of a search. With the default, each step would wait 5 ms
for the thread that makes a page.
"""

T = TypeVar("T")


class WriterThread:
    """The port `OutcomeStore`."""

    def __init__(self, index: OutcomeIndex) -> None:
        self._index = index
        self._thread = ThreadPoolExecutor(1, "index-writer")

    async def open(self, topic: str, why: WhyRebuilt | None = None) -> Mapping[int, int]:
        return await self._run(lambda: self._index.open(topic, why))

    async def write(self, batch: OutcomeBatch) -> bool:
        return await self._run(lambda: self._index.write(batch.records, batch.positions))

    async def close(self) -> None:
        """Finish the write that runs, and close the file."""
        await self._run(self._index.close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class SearchThreads:
    """Searches, several at a time."""

    def __init__(self, index: Searchable) -> None:
        self._index = index
        self._searcher = Searcher(index)
        self._segments: frozenset[int] = frozenset()
        self._threads = ThreadPoolExecutor(SEARCH_THREADS, "index-search")
        sys.setswitchinterval(SWITCH_SECONDS)

    async def search(self, query: Query) -> Hits | None:
        """Return a page of hits, or None if the index is damaged and will be built again."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._searcher.search, query)

    def release_dropped(self) -> None:
        """Let the disk have the space of segments that were dropped since the last call."""
        segments = frozenset(segment.number for segment in self._index.segments)
        if self._segments - segments:
            with contextlib.suppress(RuntimeError):  # at the end, when no thread begins anything
                self._threads.submit(self._searcher.release_dropped)
        self._segments = segments

    def close(self) -> None:
        """Begin no further search."""
        self._threads.shutdown(wait=False, cancel_futures=True)
