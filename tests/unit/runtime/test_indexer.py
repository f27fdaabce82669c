"""The indexer carries batches, and begins again where the index or the topic demands it."""

import asyncio
from collections.abc import Iterator, Mapping

import pytest

from service.console.facts import WhyRebuilt
from service.ports import FatalError, OutcomeBatch
from service.runtime.indexer import Indexer
from tests.support.console import stored


class EndError(Exception):
    """The script of a test is over."""


class Feed:
    """A topic that delivers what a test says."""

    def __init__(self, batches: list[OutcomeBatch | None], begins: list[bool]) -> None:
        self._batches = iter(batches)
        self._begins = iter(begins)
        self.identities: Iterator[str] = iter(f"topic-{number}" for number in range(10))
        self.begun: list[Mapping[int, int]] = []

    async def identify(self) -> str:
        return next(self.identities)

    async def begin(self, positions: Mapping[int, int]) -> bool:
        self.begun.append(positions)
        return next(self._begins, True)

    async def read(self) -> OutcomeBatch | None:
        await asyncio.sleep(0)
        for batch in self._batches:
            return batch
        raise EndError


class Store:
    """An index that remembers."""

    def __init__(self, writes: list[bool]) -> None:
        self._writes = iter(writes)
        self.opened: list[tuple[str, WhyRebuilt | None]] = []
        self.written: list[OutcomeBatch] = []

    async def open(self, topic: str, why: WhyRebuilt | None = None) -> Mapping[int, int]:
        self.opened.append((topic, why))
        return {0: len(self.opened)}

    async def write(self, batch: OutcomeBatch) -> bool:
        self.written.append(batch)
        return next(self._writes, True)


BATCH = OutcomeBatch((stored(0),), {0: 1})
EMPTY = OutcomeBatch((), {})
SKIPPED = OutcomeBatch((), {0: 5})


@pytest.mark.parametrize(
    ("batches", "begins", "writes", "opened", "written"),
    [
        ([BATCH, EMPTY, BATCH], [], [], [None], 3),
        ([BATCH, EMPTY, BATCH], [], [True, False], [None, "damaged"], 3),
        ([SKIPPED], [], [], [None], 1),
        ([BATCH, None, BATCH], [], [], [None, "topic"], 2),
        ([BATCH, BATCH], [], [False], [None, "damaged"], 2),
        ([BATCH], [False], [], [None, "positions"], 1),
    ],
)
async def test_batches_are_written_until_the_index_must_begin_again(
    batches: list[OutcomeBatch | None],
    begins: list[bool],
    writes: list[bool],
    opened: list[WhyRebuilt | None],
    written: int,
) -> None:
    feed, store, told = Feed(batches, begins), Store(writes), []
    indexer = Indexer(feed, store, lambda: told.append(1))
    assert not indexer.is_open
    with pytest.raises(EndError):
        await indexer.run()
    assert indexer.is_open
    assert store.opened == [(f"topic-{number}", why) for number, why in enumerate(opened)]
    assert feed.begun == [{0: number} for number in range(1, len(opened) + 1)]
    assert len(store.written) == written
    assert len(told) == len(opened) + written - writes.count(False)


async def test_each_read_is_progress_and_a_write_that_hangs_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An empty read says that the topic has nothing new, which is as it should be."""
    now = 0.0
    monkeypatch.setattr("service.runtime.indexer.time.monotonic", lambda: now)
    written = asyncio.Event()

    class Hanging(Store):
        async def write(self, batch: OutcomeBatch) -> bool:
            written.set()
            await asyncio.sleep(3600)
            return await super().write(batch)

    indexer = Indexer(Feed([EMPTY, BATCH], []), Hanging([]))
    now = 100.0
    assert indexer.quiet_seconds == 100
    running = asyncio.create_task(indexer.run())
    await written.wait()
    assert indexer.quiet_seconds == 0
    now = 500.0
    assert indexer.quiet_seconds == 400
    running.cancel()


async def test_a_fatal_error_ends_it() -> None:
    class Full(Store):
        async def write(self, batch: OutcomeBatch) -> bool:
            raise FatalError(f"no room for {len(batch.records)}")

    with pytest.raises(FatalError):
        await Indexer(Feed([BATCH], []), Full([])).run()
