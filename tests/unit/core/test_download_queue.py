"""Which file is fetched next (contract.md §9)."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.media.entry import FileEntry
from service.core.media.queue import DownloadQueue
from service.core.media.rules import Allowed, FileKey
from service.core.model import Now

OF_ONE_HOST_MAX = 99


def entry(number: int, host: str = "cdn.example") -> FileEntry:
    key = FileKey(f"https://{host}/{number}", None, "jpg", 1_000)
    return FileEntry(number, Allowed(key, "x.jpg", host))


def now(seconds: float) -> Now:
    return Now(seconds, seconds)


def begun(queue: DownloadQueue, at: float = 0.0) -> FileEntry | None:
    """The next file, which is fetched now."""
    found = queue.first(at)
    if found is not None:
        queue.begin(found, at)
    return found


def made(*entries: FileEntry) -> DownloadQueue:
    queue = DownloadQueue(lambda: 0.5, OF_ONE_HOST_MAX)
    for one in entries:
        queue.add(one)
    return queue


def test_hosts_take_turns() -> None:
    """A host with many files delays another by one download at a time."""
    many = [entry(number) for number in range(5)]
    few = [entry(number, "other.example") for number in range(10, 12)]
    queue = made(*many, *few)

    assert [begun(queue) for _ in range(8)] == [
        many[0], few[0], many[1], few[1], many[2], many[3], many[4], None
    ]  # fmt: skip


def test_a_file_that_failed_waits_for_its_time() -> None:
    one = entry(1)
    queue = made(one)
    assert begun(queue) is one
    queue.add_later(one, 5.0)
    queue.failed(one, now(0.0))
    assert queue.first(4.9) is None
    assert queue.next_time() == 5.0
    assert queue.first(5.0) is one


def test_a_failing_host_is_asked_for_one_file_at_a_time() -> None:
    """After a growing delay, until one can be fetched."""
    entries = [entry(number) for number in range(6)]
    queue = made(*entries)
    for one in entries[:3]:
        assert begun(queue) is one
        queue.failed(one, now(0.0))
    assert queue.is_failing(entries[3])
    assert queue.first(0.2) is None
    assert queue.next_time() == 0.25
    assert begun(queue, 0.25) is entries[3]
    assert queue.first(10.0) is None, "one is on its way"
    queue.failed(entries[3], now(10.0))
    assert queue.first(10.4) is None
    assert [since for since, _, _ in queue.failing()] == [0.0]
    assert begun(queue, 10.5) is entries[4]
    queue.succeeded(entries[4])
    assert not list(queue.failing())
    assert queue.first(10.5) is entries[5]


def test_a_slow_file_does_not_keep_its_host_failing() -> None:
    """The host failed for a moment, while a download that takes long went on."""
    entries = [entry(number) for number in range(6)]
    queue = made(*entries)
    assert [begun(queue) for _ in range(4)] == entries[:4]
    for one in entries[1:4]:
        queue.failed(one, now(0.0))
    assert begun(queue, 0.25) is entries[4]
    assert queue.first(10.0) is None, "one is on its way"
    queue.succeeded(entries[4])
    assert begun(queue, 10.0) is entries[5]


def test_a_failing_disk_is_tried_with_one_file_after_the_other() -> None:
    """Of any host, each after a growing delay, until it takes one. No slow source holds that up."""
    entries = [entry(number, f"{number}.example") for number in range(6)]
    queue = made(*entries)
    for one in entries[:3]:
        assert begun(queue) is one
        queue.not_kept(one, now(0.0))
    assert queue.is_failing(entries[3])
    assert not list(queue.failing()), "no host is to blame"
    assert queue.waiting_for_disk() == (0.0, entries[3:])
    assert queue.first(0.2) is None
    assert queue.next_time() == 0.25
    assert begun(queue, 0.25) is entries[3]
    assert queue.first(0.4) is None
    assert begun(queue, 0.5) is entries[4]
    queue.not_kept(entries[4], now(1.0))
    assert queue.first(1.4) is None
    assert begun(queue, 1.5) is entries[5], "another is still on its way"
    queue.kept()
    queue.succeeded(entries[5])
    assert queue.waiting_for_disk() is None
    assert queue.next_time() is None
    more = [entry(number) for number in (7, 8)]
    for one in more:
        queue.add(one)
    assert [begun(queue, 2.0) for _ in range(2)] == more


def test_a_host_has_some_downloads_and_leaves_the_others() -> None:
    many = [entry(number) for number in range(5)]
    queue = DownloadQueue(lambda: 0.5, 2)
    for one in many:
        queue.add(one)
    assert [begun(queue) for _ in range(3)] == [many[0], many[1], None]
    other = entry(10, "other.example")
    queue.add(other)
    assert begun(queue) is other
    queue.ended(many[0])
    assert begun(queue) is many[2]


def test_one_file_that_fails_makes_no_host_failing() -> None:
    """However often it fails."""
    one = entry(1)
    queue = made(one)
    for number in range(5):
        assert begun(queue, number * 10.0) is one
        queue.add_later(one, number * 10.0 + 5.0)
        queue.failed(one, now(number * 10.0))
    assert not queue.is_failing(one)


def test_what_nobody_waits_for_is_not_fetched() -> None:
    one, other = entry(1), entry(2)
    queue = made(one)
    queue.add_later(other, 5.0)
    queue.remove(one)
    queue.remove(other)
    assert queue.first(10.0) is None
    assert not queue, "nothing is known of a host without files"


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["ok", "fail", "leave"]))),
    st.integers(1, 4),
)
def test_every_file_is_fetched_or_taken_out(files: list[tuple[str, str]], at_once_max: int) -> None:
    """Whatever happens, the queue is empty in the end, and remembers no host."""
    queue = DownloadQueue(lambda: 0.5, OF_ONE_HOST_MAX)
    fates = {number: fate for number, (_, fate) in enumerate(files)}
    for number, (host, _) in enumerate(files):
        queue.add(entry(number, host))
    running: list[FileEntry] = []
    tries = dict.fromkeys(fates, 0)
    at = 0.0
    while queue:
        at += 1.0
        while len(running) < at_once_max and (found := begun(queue, at)) is not None:
            running.append(found)
        for one in running:
            tries[one.id] += 1
            if fates[one.id] == "fail" and tries[one.id] < 3:
                queue.add_later(one, at + 2.0)
                queue.failed(one, now(at))
            elif fates[one.id] == "leave":
                queue.ended(one)
            else:
                queue.succeeded(one)
        running.clear()
        assert at < 10_000, "every file gets its turn"
    assert all(tries[number] == (3 if fate == "fail" else 1) for number, fate in fates.items())
