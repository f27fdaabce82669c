"""Runs the index in threads, because its files block: one thread writes, and some search."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service.adapters.outcome_index.index import OutcomeIndex
from service.adapters.outcome_index.search import Searcher
from service.console.facts import WhyRebuilt
from service.console.hits import Hits
from service.console.query import Query
from service.ports import OutcomeBatch

SEARCH_THREADS = 3
SWITCH_SECONDS = 0.0005
"""After how long a thread lets another one run (Python's default: 5 ms).

SQLite lets other threads run at every step of a search. With the default, each step would wait 5 ms
for the thread that reads Kafka.
"""

T = TypeVar("T")


class IndexThreads:
    """The port `OutcomeStore`, and the searches."""

    def __init__(self, index: OutcomeIndex) -> None:
        self._index = index
        self._searcher = Searcher(index)
        self._writing = ThreadPoolExecutor(1, "index-writer")
        self._searching = ThreadPoolExecutor(SEARCH_THREADS, "index-search")
        sys.setswitchinterval(SWITCH_SECONDS)

    async def open(self, topic: str, why: WhyRebuilt | None = None) -> Mapping[int, int]:
        return await self._write(lambda: self._index.open(topic, why))

    async def write(self, batch: OutcomeBatch) -> bool:
        return await self._write(lambda: self._index.write(batch.records, batch.positions))

    async def search(self, query: Query) -> Hits | None:
        """Return a page of hits, or None if the index is damaged and will be built again."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._searching, self._searcher.search, query)

    async def close(self) -> None:
        """End what runs, and close the file that is written to."""
        self._searching.shutdown(wait=False, cancel_futures=True)
        await self._write(self._index.close)
        self._writing.shutdown(wait=False)

    async def _write(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writing, work)
