"""The index: what is committed together, what makes it begin again, and what it drops."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.adapters.outcome_index import walks
from service.adapters.outcome_index.index import LOCK_FILE, PARTS, Limits
from service.adapters.outcome_index.schema import open_for_reading
from service.adapters.outcome_index.search import Searcher
from service.adapters.outcome_index.segment import SegmentWriter, new_segment
from service.adapters.outcome_index.threads import SearchThreads
from service.adapters.outcome_index.view import IndexView
from service.console.entry import StoredOutcome
from service.console.facts import IndexRebuilt, OutcomesDropped, OutcomesIndexed
from service.console.hits import Hits
from service.console.query import Position, Query
from service.console.reports import SegmentReport
from service.ports import FatalError
from tests.support.console import LIMITS, NOW_MS, TOPIC, IndexUnderTest, close_indexes, stored

DAY_MS = 86_400_000
KINDS = {
    "identifier": Query(identifier="dam-1"),
    "identifier with filters": Query(identifier="dam-1", code="s", begins=True, family="packshots"),
    "exact": Query(code="sku_1"),
    "exact with filters": Query(code="sku_1", family="packshots", ending="applied"),
    "prefix": Query(code="sku", begins=True),
    "prefix with filters": Query(code="sku", begins=True, family="packshots", since_ms=1),
    "prefix that no code follows": Query(code="\U0010ffff", begins=True),
    "ending": Query(ending="applied"),
    "ending with family": Query(ending="applied", family="packshots"),
    "family": Query(family="packshots", since_ms=1, until_ms=NOW_MS * 2),
    "everything": Query(),
}


@pytest.fixture(autouse=True)
def _closing() -> Iterator[None]:
    yield
    close_indexes()


@pytest.fixture
def made(tmp_path: Path) -> IndexUnderTest:
    return IndexUnderTest(tmp_path / "index")


def filled(made: IndexUnderTest, count: int = 5) -> None:
    """Open the index, and write so many outcomes into it."""
    made.open()
    assert made.write([stored(number) for number in range(count)], {0: count, 1: 7})


def found(made: IndexUnderTest, query: Query = Query()) -> list[str]:  # noqa: B008 - it is a value
    """Return the ids of the first page."""
    searcher = Searcher(made.index)
    hits = searcher.search(query)
    searcher.close()
    assert hits is not None
    return [entry.id for entry in hits.entries]


def reopened(made: IndexUnderTest) -> IndexUnderTest:
    """Return the index as a process finds it after a kill -9: nothing was closed."""
    lock = made.index._lock
    assert lock is not None
    os.close(lock)
    return IndexUnderTest(made.folder, made.limits, made.now_ms)


def files(made: IndexUnderTest) -> list[Path]:
    return sorted(made.folder.glob("outcomes-*.sqlite"))


# --- together ----------------------------------------------------------------------------------


def test_positions_are_committed_with_their_outcomes(made: IndexUnderTest) -> None:
    filled(made)
    again = reopened(made)
    assert again.open() == {0: 5, 1: 7}
    assert again.names() == ["index.opened"]
    assert (again.index.outcomes, len(found(again))) == (5, 5)
    assert again.index.oldest_ms == NOW_MS


def test_a_transaction_that_fails_leaves_neither(
    made: IndexUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(made)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(SegmentWriter, "_note", fail)
    monkeypatch.setattr("service.adapters.outcome_index.segment.hash_of", fail)
    with pytest.raises(FatalError, match="cannot be used: disk I/O error"):
        made.write([stored(9)], {0: 10})
    monkeypatch.undo()
    broken = reopened(made)
    assert broken.open()[0] == 5
    assert len(found(broken)) == 5


def test_a_file_without_a_transaction_is_no_segment(made: IndexUnderTest) -> None:
    """As a crash leaves it between making the file and its first commit."""
    filled(made)
    made.index.close()
    SegmentWriter(new_segment(made.folder, 2), TOPIC).abandon()
    again = reopened(made)
    assert again.open() == {0: 5, 1: 7}
    assert len(files(again)) == 1
    assert again.write([stored(5)], {0: 6})
    assert len(found(again)) == 6


def test_what_is_no_outcome_is_counted_and_its_position_kept(made: IndexUnderTest) -> None:
    made.open()
    assert made.write([StoredOutcome(0, 3, NOW_MS, b"{"), stored(4)], {0: 5})
    assert OutcomesIndexed(1, 1) in made.facts
    assert reopened(made).open() == {0: 5}


# --- again -------------------------------------------------------------------------------------


def test_an_index_of_another_topic_is_built_again(made: IndexUnderTest) -> None:
    filled(made)
    again = reopened(made)
    assert again.open("cluster/outcomes/another") == {}
    assert again.facts == [IndexRebuilt("topic")]
    assert not files(again)
    assert found(again) == []


def test_an_index_of_another_version_is_built_again(made: IndexUnderTest) -> None:
    filled(made)
    made.index.close()
    connection = sqlite3.connect(files(made)[0])
    connection.execute("PRAGMA user_version = 99")
    connection.execute("DROP TABLE facts")
    connection.close()
    again = reopened(made)
    assert again.open() == {}
    assert again.facts == [IndexRebuilt("schema")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"this is no database" * 1000),
        lambda path: path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 9000),
        lambda path: path.write_bytes(path.read_bytes()[:4096]),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
    ],
    ids=["another file", "a wrong header", "one page", "a part of a page"],
)
def test_a_damaged_index_is_built_again(made: IndexUnderTest, damage: object) -> None:
    assert callable(damage)
    filled(made, 300)
    made.index.close()
    damage(files(made)[0])
    again = reopened(made)
    positions = again.open()
    if positions:  # the damage is not met until it is read
        assert Searcher(again.index).search(Query(code="sku", begins=True)) is None
        assert not again.write([stored(1)], {0: 1})
        positions = again.index.open(TOPIC, "damaged")
    assert positions == {}
    assert again.facts[-1] == IndexRebuilt("damaged")
    assert again.write([stored(1)], {0: 2})
    assert len(found(again)) == 1


def test_damage_that_a_search_meets_ends_the_index(made: IndexUnderTest) -> None:
    """The damaged pages are in the middle, which nobody reads at the start."""
    filled(made, 2000)
    made.index.close()
    path = files(made)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xa5" * (len(whole) - 12_288) + whole[-4096:])
    searcher = Searcher(made.index)
    assert searcher.search(Query(code="sku_77")) is None
    assert not made.write([stored(1)], {0: 1})
    assert made.index.open(TOPIC, "damaged") == {}
    assert made.write([stored(1)], {0: 2})
    assert searcher.search(Query(code="sku_1")) is not None
    searcher.close()


def page_of(path: Path, table: str) -> tuple[int, int]:
    """Return where the first page of a table begins and ends in the file."""
    connection = sqlite3.connect(path)
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    (number,) = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
    ).fetchone()
    connection.close()
    return (number - 1) * size, number * size


def test_damaged_positions_are_met_when_it_is_opened(made: IndexUnderTest) -> None:
    """They are read after everything else."""
    filled(made)
    made.index.close()
    path = files(made)[0]
    begin, end = page_of(path, "positions")
    whole = path.read_bytes()
    path.write_bytes(whole[:begin] + b"\xa5" * (end - begin) + whole[end:])
    again = reopened(made)
    assert again.open() == {}
    assert again.facts == [IndexRebuilt("damaged")]


def test_a_name_that_cannot_be_decoded_is_damage(made: IndexUnderTest) -> None:
    """Python raises an error of its own for what SQLite says of it."""
    filled(made)
    made.index.close()
    path = files(made)[0]
    path.write_bytes(path.read_bytes().replace(b"position INTEGER", b"positi\xc1n INTEGER"))
    again = reopened(made)
    assert again.open() == {}
    assert again.facts == [IndexRebuilt("damaged")]


@pytest.mark.parametrize("value", [b"'x'", b"x'00'", b"1.5"])
@pytest.mark.parametrize("column", ["positions.position", "outcomes.age"])
def test_a_value_of_another_type_is_damage(made: IndexUnderTest, column: str, value: bytes) -> None:
    """A single bit of the file decides which type SQLite reads."""
    filled(made)
    made.index.close()
    table, _, name = column.partition(".")
    connection = sqlite3.connect(files(made)[0])
    connection.execute(f"UPDATE {table} SET {name} = {value.decode()}")  # noqa: S608 - above
    connection.commit()
    connection.close()
    again = reopened(made)
    assert again.open() == {}
    assert again.facts == [IndexRebuilt("damaged")]


@pytest.mark.parametrize("entry", ["1", "x'ff'", "x'91a1ff'"], ids=["number", "bytes", "text"])
def test_an_entry_that_cannot_be_read_is_damage(made: IndexUnderTest, entry: str) -> None:
    filled(made)
    made.index.close()
    connection = sqlite3.connect(files(made)[0])
    connection.execute(f"UPDATE outcomes SET entry = {entry} WHERE number = 3")  # noqa: S608 - above
    connection.commit()
    connection.close()
    searcher = Searcher(made.index)
    assert searcher.search(Query()) is None
    searcher.close()
    assert not made.write([], {})


def test_rows_that_contradict_each_other_are_damage(made: IndexUnderTest) -> None:
    filled(made)
    made.index.close()
    connection = sqlite3.connect(files(made)[0])
    connection.execute("UPDATE families SET number = 2")
    connection.commit()
    connection.close()
    again = reopened(made)
    assert again.open() == {0: 5, 1: 7}
    assert not again.write([stored(9, asset_family="covers")], {0: 10})


def test_files_that_are_deleted_meanwhile_are_missed(made: IndexUnderTest) -> None:
    """As docs/console.md allows; it does not wait until the next outcome comes."""
    filled(made)
    assert made.write([], {})
    assert reopened(made).open() == {0: 5, 1: 7}
    for path in files(made):
        path.unlink()
    assert not made.write([], {})
    assert made.index.open(TOPIC, "damaged") == {}
    assert made.write([stored(1)], {0: 2})
    assert len(found(made)) == 1


def test_damage_of_segments_that_are_gone_is_no_reason_to_build_again(made: IndexUnderTest) -> None:
    """Several searches may meet the same damage, and the last one may say so after the rebuild."""
    made.index.report_damage_up_to(1)
    filled(made)
    met = made.index.segments[-1].number
    made.index.report_damage_up_to(met)
    assert not made.write([stored(1)], {0: 1})
    assert made.index.open(TOPIC, "damaged") == {}
    assert made.write([stored(1)], {0: 2})
    made.index.report_damage_up_to(met)
    assert made.write([stored(2)], {0: 3})


def test_a_missing_file_in_the_middle_is_damage(made: IndexUnderTest) -> None:
    filled(made)
    for number in range(2):
        made.index.close()
        made.index._begin_segment()
        assert made.write([stored(10 + number)], {0: 11 + number})
    made.index.close()
    files(made)[1].unlink()
    again = reopened(made)
    assert again.open() == {}
    assert again.facts == [IndexRebuilt("damaged")]


def test_a_segment_number_is_never_used_twice(made: IndexUnderTest) -> None:
    """A search may still have the deleted file of that number open."""
    filled(made)
    first = files(made)
    made.index.open(TOPIC, "damaged")
    assert made.write([stored(1)], {0: 1})
    assert not set(files(made)) & set(first)


# --- the folder --------------------------------------------------------------------------------


def test_two_processes_do_not_share_a_folder(made: IndexUnderTest) -> None:
    made.open()
    with pytest.raises(FatalError, match="Another process uses the index"):
        IndexUnderTest(made.folder).open()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FatalError, match=r"cannot be used: .*ASSET_SYNC_CONSOLE__DIR"):
        IndexUnderTest(tmp_path / "file" / "index").open()


def test_a_strangers_file_is_left_alone(made: IndexUnderTest) -> None:
    made.folder.mkdir()
    (made.folder / "notes.txt").write_text("mine")
    (made.folder / "outcomes-x.sqlite").write_text("mine")
    filled(made)
    made.index.open("another", None)
    names = {path.name for path in made.folder.iterdir()}
    assert {"notes.txt", "outcomes-x.sqlite", LOCK_FILE} == names


# --- another process ---------------------------------------------------------------------------


def reports(made: IndexUnderTest) -> list[SegmentReport]:
    return [
        SegmentReport(one.number, one.outcomes, one.oldest_ms, one.newest_ms)
        for one in made.index.segments
    ]


def test_a_view_finds_what_was_reported(made: IndexUnderTest) -> None:
    """Without the lock, and while the other process has the file open."""
    view = IndexView(made.folder, days=3650, damaged=lambda _: None)
    searcher = Searcher(view)
    assert searcher.search(Query()) == Hits()
    filled(made)
    view.show(reports(made))
    hits = searcher.search(Query())
    assert hits is not None
    assert len(hits.entries) == view.outcomes == 5
    assert view.size_bytes == made.index.size_bytes
    assert view.oldest_ms == NOW_MS
    assert made.write([stored(5)], {0: 6})
    hits = searcher.search(Query(code="sku_5"))
    assert hits is not None
    assert len(hits.entries) == 1
    searcher.close()


def test_damage_that_a_view_meets_is_told_with_the_newest_segment(made: IndexUnderTest) -> None:
    told: list[int] = []
    view = IndexView(made.folder, days=3650, damaged=told.append)
    view.report_damage()
    filled(made, 2000)
    made.index.close()
    path = files(made)[0]
    path.write_bytes(path.read_bytes()[:8192] + b"\xa5" * 100_000)
    view.show(reports(made))
    assert Searcher(view).search(Query(code="sku_77")) is None
    assert told == [view.segments[-1].number]


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_oldest_are_dropped_in_small_steps(tmp_path: Path) -> None:
    limit = 2 * 1024 * 1024
    made = IndexUnderTest(tmp_path, Limits(limit, 30))
    made.open()
    sizes = []
    for number in range(0, 20_000, 100):
        assert made.write([stored(number + n) for n in range(100)], {0: number})
        sizes.append(made.index.size_bytes)
    dropped = [fact for fact in made.facts if isinstance(fact, OutcomesDropped)]
    assert len(dropped) > 3
    assert max(sizes) <= limit
    assert min(sizes[len(sizes) // 2 :]) > limit / 2, "no more is dropped than has to be"
    assert max(fact.outcomes for fact in dropped) < 20_000 / PARTS
    assert made.index.outcomes == 20_000 - sum(fact.outcomes for fact in dropped)
    assert found(made, Query(code="sku_19999")) == ["events/0/19999"]
    assert found(made, Query(code="sku_1")) == []
    again = reopened(made)
    assert again.open() == {0: 19_900}
    assert again.index.outcomes == made.index.outcomes


def test_what_is_too_old_is_not_found_and_then_dropped(made: IndexUnderTest) -> None:
    made.open()
    for day in range(0, 40, 2):
        made.now_ms = NOW_MS + day * DAY_MS
        assert made.write([stored(day, made.now_ms)], {0: day})
    ids = found(made)
    assert "events/0/38" in ids
    assert "events/0/8" in ids
    assert "events/0/6" not in ids
    assert made.index.outcomes < 20
    made.now_ms += 100 * DAY_MS
    assert found(made) == []
    assert made.write([stored(99, made.now_ms)], {0: 100})
    assert made.index.outcomes <= 2, "the newest segment stays, because it has the positions"


def test_a_wrong_clock_of_a_producer_does_no_harm(made: IndexUnderTest) -> None:
    made.open()
    for number, at_ms in enumerate([NOW_MS, -1, 0, 10**17, NOW_MS + 1]):
        assert made.write([stored(number, at_ms)], {0: number})
    assert set(found(made)) == {"events/0/0", "events/0/3", "events/0/4"}
    assert len(files(made)) <= 3


# --- speed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    "after", [None, *(Position(code, -(NOW_MS << 20), 1, 1) for code in ("sku_1", "\U0010ffff1"))]
)
def test_every_walk_follows_an_index(
    made: IndexUnderTest, query: Query, after: Position | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No walk sorts more than one chunk, and none looks through a table."""
    filled(made)
    made.index.close()
    connection = open_for_reading(made.index.segments[0].path)
    plans: list[str] = []

    class Explaining:
        def execute(self, statement: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
            explained = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in explained)
            return connection.execute(statement, parameters)

    monkeypatch.setattr(walks, "_endings", lambda *_: [1] if query.ending else None)
    monkeypatch.setattr(walks, "_family", lambda *_: [1] if query.family else None)
    asked = query._replace(after=after)
    for walk in walks.walk_segment(
        Explaining(),  # type: ignore[arg-type]
        made.index.segments[0],
        asked,
        0,
    ):
        list(walk)
    connection.close()
    assert plans
    for plan in plans:
        is_index = "COVERING INDEX" in plan or "PRIMARY KEY" in plan
        assert is_index or plan in {"CO-ROUTINE k", "SCAN k", "USE TEMP B-TREE FOR ORDER BY"}, plan
    if not any("CO-ROUTINE" in plan for plan in plans):
        assert not any("TEMP" in plan for plan in plans)


def test_a_search_ends_early_and_can_be_continued(
    made: IndexUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that hardly anything passes does not make one search long."""
    made.open()
    rare = {500: "timeout"}
    assert made.write(
        [
            stored(n, code=f"sku_{n:04}", status="failed", result=None, reason=rare.get(n, "x"))
            for n in range(1000)
        ],
        {0: 1000},
    )
    monkeypatch.setattr(walks, "CHUNK_KEYS", 50)
    monkeypatch.setattr("service.adapters.outcome_index.search.CHUNKS_MAX", 4)
    searcher = Searcher(made.index)
    query = Query(code="sku", begins=True, ending="timeout")
    seen, tries = [], 0
    while True:
        hits = searcher.search(query)
        assert hits is not None
        seen += [entry.id for entry in hits.entries]
        tries += 1
        if hits.after is None:
            break
        assert hits.is_partial
        query = query._replace(after=hits.after)
    searcher.close()
    assert seen == ["events/0/500"]
    assert tries == 6


def test_a_dropped_segment_does_not_disturb_a_search(made: IndexUnderTest) -> None:
    """Its connections are closed, so that the disk has its space again."""
    filled(made)
    made.index.close()
    made.index._begin_segment()
    assert made.write([stored(9)], {0: 10})
    searcher = Searcher(made.index)
    assert searcher.search(Query()) is not None
    oldest = made.index.segments[0]
    made.index._segments = made.index.segments[1:]
    oldest.delete()
    assert deleted_and_open(made.folder)
    searcher.release_dropped()
    assert not deleted_and_open(made.folder)
    hits = searcher.search(Query())
    assert hits is not None
    assert [entry.id for entry in hits.entries] == ["events/0/9"]
    searcher.close()


def test_a_segment_that_is_dropped_during_a_search_is_closed_after_it(
    made: IndexUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(made)
    made.index.close()
    searcher = Searcher(made.index)
    whole = Searcher._search

    def drop(*given: object) -> Hits:
        hits = whole(*given)  # type: ignore[arg-type]
        dropped = made.index.segments
        made.index._segments = ()
        dropped[0].delete()
        searcher.release_dropped()
        assert deleted_and_open(made.folder)
        return hits

    monkeypatch.setattr(Searcher, "_search", drop)
    assert searcher.search(Query()) is not None
    assert not deleted_and_open(made.folder)


async def test_dropped_segments_are_released_though_nobody_searches(made: IndexUnderTest) -> None:
    filled(made)
    made.index.close()
    searches = SearchThreads(made.index)
    assert await searches.search(Query()) is not None
    searches.release_dropped()
    dropped = made.index.segments
    made.index._segments = ()
    dropped[0].delete()
    searches.release_dropped()
    async with asyncio.timeout(10):
        while deleted_and_open(made.folder):  # noqa: ASYNC110 - a thread closes them
            await asyncio.sleep(0.01)
    searches.close()
    made.index._segments = dropped
    searches.release_dropped()
    made.index._segments = ()
    searches.release_dropped()


def deleted_and_open(folder: Path) -> list[str]:
    """Return the deleted files of a folder that this process has open."""
    opened: list[str] = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            opened.append(str(path.readlink()))
    return [name for name in opened if name.startswith(str(folder)) and "(deleted)" in name]


def test_the_limits_of_the_tests_are_those_of_users() -> None:
    assert LIMITS.max_bytes == 256 * 1024 * 1024
