"""The files that wait to be fetched, by host.

Rule 1: hosts take turns, so that a host with many files delays no other.
Rule 2: a host that failed for three different files in a row is failing: it is asked for one file
at a time, after a growing delay, until one can be fetched.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.core.media.entry import FileEntry
from service.core.model import Now
from service.core.recover.backoff import Jitter, delay

HOST_FAILURES_MAX = 3
"""Different files that fail in a row before their host is failing."""


@dataclass(slots=True)
class _Host:
    ready: OrderedDict[int, FileEntry] = field(default_factory=OrderedDict)
    delayed: dict[int, FileEntry] = field(default_factory=dict)
    """Files that are tried again later."""
    running: int = 0
    failed: set[int] = field(default_factory=set)
    """Files that failed since the last success; not more than are needed."""
    failing_since: float | None = None
    """By the budget clock."""
    failures: int = 0
    not_before: float = float("-inf")

    @property
    def is_failing(self) -> bool:
        return self.failing_since is not None

    @property
    def is_idle(self) -> bool:
        return not (self.ready or self.delayed or self.running)

    def may_start(self, now: float) -> bool:
        return not self.is_failing or (not self.running and now >= self.not_before)


class DownloadQueue:
    """Chooses which file is fetched next."""

    def __init__(self, jitter: Jitter) -> None:
        self._jitter = jitter
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        """In the order of their turns."""
        self._later: list[tuple[float, int, FileEntry]] = []
        """When delayed files are ready, and their ids."""

    def __bool__(self) -> bool:
        """Return whether any file waits, or is fetched."""
        return bool(self._hosts)

    # --- waiting -----------------------------------------------------------------------------

    def add(self, entry: FileEntry) -> None:
        """Let the file wait for its turn."""
        self._host(entry).ready[entry.id] = entry

    def add_later(self, entry: FileEntry, at: float) -> None:
        """Let the file wait, until then at least (monotonic seconds)."""
        self._host(entry).delayed[entry.id] = entry
        heapq.heappush(self._later, (at, entry.id, entry))

    def remove(self, entry: FileEntry) -> None:
        """Take the file out: nobody waits for it any more."""
        host = self._host(entry)
        host.ready.pop(entry.id, None)
        host.delayed.pop(entry.id, None)
        self._free(entry.host)

    # --- choosing ----------------------------------------------------------------------------

    def first(self, now: float) -> FileEntry | None:
        """Return the file that is fetched next, if one may be now; it stays in the queue."""
        while self._later and self._later[0][0] <= now:
            _, _, entry = heapq.heappop(self._later)
            host = self._host(entry)
            if host.delayed.pop(entry.id, None) is not None:
                host.ready[entry.id] = entry
            self._free(entry.host)
        for host in self._hosts.values():
            if host.ready and host.may_start(now):
                return next(iter(host.ready.values()))
        return None

    def begin(self, entry: FileEntry) -> None:
        """Take the file out to fetch it: it is the turn of other hosts."""
        host = self._host(entry)
        del host.ready[entry.id]
        host.running += 1
        self._hosts.move_to_end(entry.host)

    def next_time(self) -> float | None:
        """Return when time alone lets a file be fetched (monotonic seconds)."""
        times = [host.not_before for host in self._hosts.values() if host.is_failing and host.ready]
        if self._later:
            times.append(self._later[0][0])
        return min(times, default=None)

    # --- ends --------------------------------------------------------------------------------

    def ended(self, entry: FileEntry) -> None:
        """Note the end of a download that says nothing about its host."""
        self._host(entry).running -= 1
        self._free(entry.host)

    def succeeded(self, entry: FileEntry) -> None:
        """Note an answer: the host works, whatever it answered."""
        host = self._host(entry)
        host.failed.clear()
        host.failing_since = None
        host.failures = 0
        self.ended(entry)

    def failed(self, entry: FileEntry, now: Now) -> None:
        """Note a failure, which may be the file's own or its host's."""
        host = self._host(entry)
        host.failed.add(entry.id)
        if len(host.failed) >= HOST_FAILURES_MAX:
            host.failures += 1
            host.not_before = now.seconds + delay(host.failures, self._jitter)
            if host.failing_since is None:
                host.failing_since = now.budget
        self.ended(entry)

    def is_failing(self, entry: FileEntry) -> bool:
        """Return whether the file's host fails for other files too."""
        host = self._hosts.get(entry.host)
        return host is not None and host.is_failing

    def failing(self) -> Iterator[tuple[float, list[FileEntry]]]:
        """Yield since when each failing host fails (budget clock), and its waiting files."""
        for host in self._hosts.values():
            if host.failing_since is not None:
                yield host.failing_since, [*host.ready.values(), *host.delayed.values()]

    def _host(self, entry: FileEntry) -> _Host:
        host = self._hosts.get(entry.host)
        if host is None:
            host = self._hosts[entry.host] = _Host()
        return host

    def _free(self, name: str) -> None:
        """Forget a host with no file left, whether it is failing or not."""
        if self._hosts[name].is_idle:
            del self._hosts[name]
