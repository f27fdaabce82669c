"""The files that wait to be fetched, by host.

Rule 1: hosts take turns, so that a host with many files delays no other.
Rule 2: a host that failed for three different files in a row is failing: it is asked for one file
at a time, after a growing delay, until one can be fetched. Downloads that began before that do not
count, because one of them may be slow.
Rule 3: the disk is failing likewise: then files of all hosts begin one by one, each after a growing
delay. It does not matter whether those before have ended, because a source may be slow.
Rule 4: one host never has all downloads, so that a slow host does not stop the files of others.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.core.media.entry import FileEntry
from service.core.model import Now
from service.core.recover.backoff import Jitter, delay

FAILURES_MAX = 3
"""Different files that fail in a row before their host, or the disk, is failing."""


@dataclass(slots=True)
class _Health:
    """Whether a host, or the disk, fails for one file after the other."""

    failed: set[int] = field(default_factory=set)
    """Files that failed since the last success; not more than are needed."""
    failing_since: float | None = None
    """By the budget clock."""
    failures: int = 0
    not_before: float = float("-inf")
    probe: int | None = None
    """The file for which a failing host is asked at present."""
    known_until: float = float("inf")
    """When a host failed last, if it said when to come again (budget clock)."""

    @property
    def is_failing(self) -> bool:
        return self.failing_since is not None

    def note_success(self) -> None:
        self.failed.clear()
        self.failing_since = None
        self.failures = 0
        self.probe = None

    def note_failure(self, entry: FileEntry, now: Now, jitter: Jitter, after: float = 0.0) -> None:
        """Note that a file failed; `after` is how many seconds the source asked to wait."""
        if len(self.failed) < FAILURES_MAX:
            self.failed.add(entry.id)
        if len(self.failed) < FAILURES_MAX:
            return
        self.failures += 1
        self.not_before = now.seconds + max(delay(self.failures, jitter), after)
        self.known_until = now.budget if after else float("inf")
        if self.failing_since is None:
            self.failing_since = now.budget

    def may_start(self, now: float) -> bool:
        return not self.is_failing or (self.probe is None and now >= self.not_before)


@dataclass(slots=True)
class _Host:
    ready: OrderedDict[int, FileEntry] = field(default_factory=OrderedDict)
    delayed: dict[int, FileEntry] = field(default_factory=dict)
    """Files that are tried again later."""
    running: int = 0
    health: _Health = field(default_factory=_Health)

    @property
    def is_idle(self) -> bool:
        return not (self.ready or self.delayed or self.running)

    @property
    def waiting(self) -> list[FileEntry]:
        return [*self.ready.values(), *self.delayed.values()]


class DownloadQueue:
    """Chooses which file is fetched next."""

    def __init__(self, jitter: Jitter, of_one_host_max: int) -> None:
        """Begin without files; a host has at most `of_one_host_max` downloads at once."""
        self._jitter = jitter
        self._of_one_host_max = of_one_host_max
        self._disk = _Health()
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
        if not self._disk.may_start(now):
            return None
        for host in self._hosts.values():
            if host.ready and self._may_start(host, now):
                return next(iter(host.ready.values()))
        return None

    def begin(self, entry: FileEntry, now: float) -> None:
        """Take the file out to fetch it: it is the turn of other hosts."""
        if self._disk.is_failing:
            self._disk.not_before = now + delay(self._disk.failures, self._jitter)
        host = self._host(entry)
        if host.health.is_failing:
            host.health.probe = entry.id
        del host.ready[entry.id]
        host.running += 1
        self._hosts.move_to_end(entry.host)

    def next_time(self) -> float | None:
        """Return when time alone lets a file be fetched (monotonic seconds)."""
        ready = [host.health for host in self._hosts.values() if host.ready]
        times = [health.not_before for health in ready if health.is_failing]
        if ready and self._disk.is_failing:
            times.append(self._disk.not_before)
        if self._later:
            times.append(self._later[0][0])
        return min(times, default=None)

    # --- ends --------------------------------------------------------------------------------

    def ended(self, entry: FileEntry) -> None:
        """Note the end of a download that says nothing about its host."""
        host = self._host(entry)
        host.running -= 1
        if host.health.probe == entry.id:
            host.health.probe = None
        self._free(entry.host)

    def succeeded(self, entry: FileEntry) -> None:
        """Note an answer: the host works, whatever it answered."""
        self._host(entry).health.note_success()
        self.ended(entry)

    def failed(self, entry: FileEntry, now: Now, after: float = 0.0) -> None:
        """Note a failure, which may be the file's own or its host's.

        A failing host is asked again when it said so: `after` so many seconds.
        """
        self._host(entry).health.note_failure(entry, now, self._jitter, after)
        self.ended(entry)

    def kept(self) -> None:
        """Note that the disk took a file."""
        self._disk.note_success()

    def not_kept(self, entry: FileEntry, now: Now) -> None:
        """Note that the disk did not take a file, whose host is not to blame."""
        self._disk.note_failure(entry, now, self._jitter)
        self.ended(entry)

    def is_failing(self, entry: FileEntry) -> bool:
        """Return whether the disk, or the file's host, fails for other files too."""
        host = self._hosts.get(entry.host)
        return self._disk.is_failing or (host is not None and host.health.is_failing)

    def failing(self) -> Iterator[tuple[float, float, list[FileEntry]]]:
        """Yield since when each failing host fails (budget clock), and its waiting files.

        The second time is until when that is known: a host that said when to come again may work
        by then.
        """
        for host in self._hosts.values():
            if host.health.failing_since is not None:
                yield host.health.failing_since, host.health.known_until, host.waiting

    def waiting_for_disk(self) -> tuple[float, list[FileEntry]] | None:
        """Return since when the disk fails (budget clock), and all waiting files."""
        if self._disk.failing_since is None:
            return None
        waiting = [entry for host in self._hosts.values() for entry in host.waiting]
        return self._disk.failing_since, waiting

    def _may_start(self, host: _Host, now: float) -> bool:
        is_below = host.running < self._of_one_host_max
        return is_below and host.health.may_start(now)

    def _host(self, entry: FileEntry) -> _Host:
        host = self._hosts.get(entry.host)
        if host is None:
            host = self._hosts[entry.host] = _Host()
        return host

    def _free(self, name: str) -> None:
        """Forget a host with no file left, whether it is failing or not."""
        if self._hosts[name].is_idle:
            del self._hosts[name]
