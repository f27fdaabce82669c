"""The downloads: which begin when, what they may take on disk, and how often they are tried.

Rule 1: a download reserves the most that it may bring before it begins, and keeps what it brought.
So what is on disk never exceeds its limit, and no two downloads can wait for each other.
"""

from collections.abc import Iterable, Iterator

from service.core.effects import CancelDownload, DropFile, StartDownload
from service.core.facts import DownloadEndName, FileDownloadEnded
from service.core.group.asset_work import Ending
from service.core.inputs import (
    Downloaded,
    DownloadEnd,
    DownloadFault,
    DownloadRefused,
    NotModified,
)
from service.core.limits import RETRY_AFTER_SECONDS_MAX, Limits, MediaOptions
from service.core.media.entry import FileEntry, FileState
from service.core.media.queue import DownloadQueue
from service.core.model import Now
from service.core.news import News
from service.core.recover.backoff import Jitter, delay

UNASKED = DownloadFault("The host answers that the file has not changed, which it was not asked.")

DISK_FAILS = "Waited too long: the disk of asset-sync takes no file at present."

LOOK_SECONDS = 0.5
"""Seconds between two looks for files whose host has failed for too long."""


class Downloads:
    """Fetches files within the limits on downloads at once and on bytes on disk."""

    def __init__(self, limits: Limits, jitter: Jitter, news: News) -> None:
        assert limits.media.file_bytes_max <= limits.media.disk_bytes_max
        self._limits = limits
        self._jitter = jitter
        self._news = news
        self._queue = DownloadQueue(jitter, _of_one_host_max(limits.media))
        self._running: dict[int, FileEntry] = {}
        """Downloads in flight, also those that are being cancelled."""
        self._look_at = float("-inf")
        self.disk_bytes = 0
        """What files on disk take, and what downloads in flight may bring."""

    def __bool__(self) -> bool:
        """Return whether any file waits to be fetched, or is fetched."""
        return bool(self._queue)

    @property
    def in_flight(self) -> int:
        """The number of downloads in flight."""
        return len(self._running)

    def add(self, entry: FileEntry) -> None:
        """Let the file wait for its turn."""
        self._queue.add(entry)

    def start(self, now: Now) -> None:
        """Begin the downloads that may begin now."""
        media = self._limits.media
        while len(self._running) < media.downloads_at_once_max:
            entry = self._queue.first(now.seconds)
            if entry is None or self.disk_bytes + entry.key.bytes_max > media.disk_bytes_max:
                return
            self._queue.begin(entry, now.seconds)
            entry.state = FileState.DOWNLOADING
            entry.began_at, entry.asked_at = now.seconds, now.budget
            self._running[entry.id] = entry
            self._resize(entry, entry.key.bytes_max)
            etag = entry.seen.etag if entry.seen is not None else None
            key = entry.key
            self._news.append(StartDownload(entry.id, key.url, key.bytes_max, etag))

    def stop(self, entry: FileEntry) -> None:
        """Take the file back, wherever it is: nobody waits for it any more."""
        match entry.state:
            case FileState.WAITING:
                self._queue.remove(entry)
            case FileState.DOWNLOADING:
                self._news.append(CancelDownload(entry.id))
            case FileState.STORED:
                self._news.append(DropFile(entry.id))
                self._resize(entry, 0)

    def next_time(self) -> float | None:
        """Return when time alone lets a download begin (monotonic seconds)."""
        return self._queue.next_time()

    # --- ends --------------------------------------------------------------------------------

    def ended(
        self, file_id: int, end: DownloadEnd, now: Now
    ) -> tuple[FileEntry, Downloaded | NotModified | Ending] | None:
        """Take the end of a download; return the file and what it led to.

        Return None where nobody waits for the file any more, or where it is tried again.
        """
        entry = self._running.pop(file_id)
        is_stored = isinstance(end, Downloaded)
        if is_stored:
            self._queue.kept()
        self._resize(entry, end.size if isinstance(end, Downloaded) else 0)
        if not entry.uses:
            self._note_end(entry, "cancelled", now)
            self._queue.ended(entry)
            if is_stored:
                self._drop(entry)
            return None
        entry.state = FileState.STORED if is_stored else FileState.WAITING
        match end:
            case Downloaded():
                return self._fetched(entry, end, now)
            case NotModified() if entry.seen is None:
                return self._failed(entry, UNASKED, now)
            case NotModified():
                self._queue.succeeded(entry)
                self._note_end(entry, "not_modified", now)
                return entry, end
            case DownloadRefused(message, is_from_host):
                if is_from_host:
                    self._queue.succeeded(entry)
                else:
                    self._queue.ended(entry)
                self._note_end(entry, "refused", now, message)
                return entry, refused(f"The file {entry.shown} cannot be fetched: {message}")
            case DownloadFault():
                return self._failed(entry, end, now)

    def _fetched(
        self, entry: FileEntry, end: Downloaded, now: Now
    ) -> tuple[FileEntry, Downloaded | Ending]:
        self._queue.succeeded(entry)
        flaw = _flaw_of(entry, end)
        if flaw is not None:
            self._note_end(entry, "refused", now, flaw)
            self._drop(entry)
            entry.state = FileState.WAITING
            return entry, refused(flaw)
        entry.note_found(end)
        self._note_end(entry, "downloaded", now)
        return entry, end

    def _failed(
        self, entry: FileEntry, fault: DownloadFault, now: Now
    ) -> tuple[FileEntry, Ending] | None:
        if fault.is_cancelled:
            self._queue.add(entry)
            self._queue.ended(entry)
            self._note_end(entry, "cancelled", now)
            return None
        self._note_end(entry, "failed", now, fault.message)
        entry.note_failure(now.budget, is_of_disk=fault.is_of_disk)
        ending = self._try_later(entry, fault, now)
        if fault.is_of_disk:
            self._queue.not_kept(entry, now)
        else:
            self._queue.failed(entry, now, _seconds_asked_for(fault))
        return None if ending is None else (entry, ending)

    def lost(self, entry: FileEntry, message: str, now: Now) -> Ending | None:
        """Fetch a file again later that is no longer on disk; return its ending once given up.

        Its host is not to blame.
        """
        self._drop(entry)
        entry.note_loss(now.budget)
        self._note_end(entry, "failed", now, message)
        return self._try_later(entry, DownloadFault(message), now)

    def _try_later(self, entry: FileEntry, fault: DownloadFault, now: Now) -> Ending | None:
        """Let the file be fetched again later; return its ending if it was tried too often."""
        entry.last_fault = fault.message
        assert entry.failing_since is not None
        is_spent = (
            entry.tries >= self._limits.retry_attempts_max
            or now.budget - entry.failing_since >= self._limits.retry_seconds_max
        )
        if is_spent:
            tries = f"Given up after {entry.tries} tries."
            return failed(entry, DISK_FAILS if fault.is_of_disk else tries)
        wait = delay(entry.failures + entry.losses, self._jitter)
        self._queue.add_later(entry, now.seconds + max(wait, _seconds_asked_for(fault)))
        return None

    # --- giving up ---------------------------------------------------------------------------

    def waited_too_long(self, now: Now) -> Iterator[tuple[FileEntry, Ending]]:
        """Yield the files whose host, or the disk, has failed as long as the retry budget allows.

        A file whose host and whose disk have failed comes twice.
        """
        if now.seconds < self._look_at:
            return
        self._look_at = now.seconds + LOOK_SECONDS
        seconds_max = self._limits.retry_seconds_max
        horizon = now.budget - seconds_max
        for since, until, entries in self._queue.failing():
            for entry in _waiting_since(min(horizon, until - seconds_max), since, entries):
                message = f"Waited too long: no file of {entry.host} can be fetched at present."
                yield entry, failed(entry, message)
        if (waiting := self._queue.waiting_for_disk()) is not None:
            for entry in _waiting_since(horizon, *waiting):
                yield entry, failed(entry, DISK_FAILS)

    def is_failing(self, entry: FileEntry) -> bool:
        """Return whether the file could not be fetched before, or no such file can be."""
        if entry.state is FileState.STORED:
            return False
        return entry.failures > 0 or self._queue.is_failing(entry)

    # --- the disk ----------------------------------------------------------------------------

    def _drop(self, entry: FileEntry) -> None:
        self._news.append(DropFile(entry.id))
        self._resize(entry, 0)

    def _resize(self, entry: FileEntry, size: int) -> None:
        self.disk_bytes += size - entry.size
        entry.size = size

    def _note_end(
        self, entry: FileEntry, end: DownloadEndName, now: Now, message: str | None = None
    ) -> None:
        seconds = round(now.seconds - entry.began_at, 3)
        fact = FileDownloadEnded(
            url=entry.shown, end=end, seconds=seconds, size=entry.size, message=message
        )
        self._news.append(fact)


def refused(message: str) -> Ending:
    """Return the ending of a change whose file may not, or can never, be fetched."""
    return Ending("rejected", reason="media_refused", message=message)


def failed(entry: FileEntry, message: str) -> Ending:
    """Return the ending of a change whose file could not be fetched."""
    why = f": {entry.last_fault}" if entry.last_fault else "."
    message = f"{message} The file {entry.shown} could not be fetched{why}"
    return Ending("failed", reason="media_failed", message=message)


def _of_one_host_max(media: MediaOptions) -> int:
    """Return how many downloads at once a host may have: all, if it is the only host."""
    names = media.hosts | media.private_hosts
    if len(names) == 1 and not next(iter(names)).startswith("*."):
        return media.downloads_at_once_max
    return max(1, media.downloads_at_once_max - 1)


def _seconds_asked_for(fault: DownloadFault) -> float:
    return min(fault.retry_after_seconds or 0.0, RETRY_AFTER_SECONDS_MAX)


def _waiting_since(
    horizon: float, since: float, entries: Iterable[FileEntry]
) -> Iterator[FileEntry]:
    """Yield the files that wait since the horizon, as what fails does."""
    for entry in entries if since <= horizon else ():
        if entry.oldest_admitted_at <= horizon:
            yield entry


def _flaw_of(entry: FileEntry, found: Downloaded) -> str | None:
    """Return what the file itself breaks that only its content shows."""
    if found.size > entry.key.bytes_max:
        return f"The file {entry.shown} has {found.size} bytes; the limit is {entry.key.bytes_max}."
    if entry.key.sha256 not in {None, found.sha256}:
        return f"The file {entry.shown} has the SHA-256 {found.sha256}, not the one of the event."
    return None
