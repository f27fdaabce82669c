"""The files on disk, and the calls that upload them.

Rule 1: an upload is a call of the first asset that waits for the file. If that asset ends without
it, the next one uploads the file.
Rule 2: an asset has one such call at a time, so that its failures are those of one call.
Rule 3: of several files with one content, only the first is uploaded: all get its code.
"""

from collections.abc import Collection

from service.contracts.outcome import UPSERT
from service.core.facts import FileUploadEnded, UploadEndName
from service.core.group.asset_work import AssetWork
from service.core.group.work_files import Content
from service.core.media.entry import FileEntry
from service.core.model import Asset
from service.core.news import News
from service.core.recover.call import Call
from service.core.recover.lanes import Lanes
from service.core.requests import UploadFile


class Uploads:
    """Knows which call uploads which file, whether it waits or is in flight."""

    def __init__(self, lanes: Lanes, news: News) -> None:
        self._lanes = lanes
        self._news = news
        self._stored: dict[Content, list[FileEntry]] = {}
        self._by_call: dict[int, FileEntry] = {}
        self._uploading: set[Asset] = set()
        """The assets with such a call, by the key under which they are busy."""
        self._idle: dict[Content, None] = {}
        """What could not be uploaded yet, because its assets upload other files."""

    def add(self, entry: FileEntry, now: float) -> None:
        """Let a file that was fetched be uploaded."""
        self._stored.setdefault(entry.content, []).append(entry)
        self._upload_first(entry.content, now)

    def started(self, call: Call, now: float) -> None:
        """Note when the request of an upload went out (monotonic seconds)."""
        if (entry := self._by_call.get(call.id)) is not None:
            entry.began_at = now

    def failed(self, call: Call, now: float) -> None:
        """Note that an upload got no usable answer; its call is sent again."""
        if (entry := self._by_call.get(call.id)) is not None:
            self._note(entry, "failed", now)

    def ended(self, call: Call, end: UploadEndName, now: float) -> list[FileEntry]:
        """Return the files whose upload has ended by this call: all of one content."""
        entry = self._by_call.pop(call.id, None)
        if entry is None:  # of an assignment that is over
            return []
        self._note(entry, end, now)
        self._uploading.discard(_uploader_of(entry).key)
        return self._stored.pop(entry.content)

    def lost(self, call: Call, now: float) -> FileEntry | None:
        """Return the file of an upload, which is no longer on disk.

        If another file has the same content, it is uploaded next.
        """
        entry = self._by_call.pop(call.id, None)
        if entry is None:  # of an assignment that is over
            return None
        self._note(entry, "failed", now)
        self._uploading.discard(_uploader_of(entry).key)
        entry.call = entry.uploader = None
        self._take_out(entry)
        if entry.content in self._stored:
            self._idle[entry.content] = None
        return entry

    def go_on(self, now: float) -> None:
        """Upload what waited for a call that has ended."""
        for content in list(self._idle):
            self._upload_first(content, now)

    def leave(self, entry: FileEntry, work: AssetWork, now: float) -> None:
        """Let the next asset upload a file on disk, where this one was to do it."""
        if entry.call is not None and entry.uploader is work:
            del self._by_call[entry.call.id]
            self._uploading.discard(work.key)
            entry.call = entry.uploader = None
        self.drop_unused(entry)
        self._upload_first(entry.content, now)

    def drop_unused(self, entry: FileEntry) -> None:
        """Forget a file on disk for which nobody waits any more."""
        if not entry.uses:
            self._take_out(entry)

    def keep(self, in_flight: Collection[int]) -> dict[int, FileEntry]:
        """Forget all files but those that these calls upload; return those by their ids."""
        kept = {id_: entry for id_, entry in self._by_call.items() if id_ in in_flight}
        self._by_call = kept
        self._stored = {entry.content: [entry] for entry in kept.values()}
        self._uploading.clear()
        self._idle.clear()
        return {entry.id: entry for entry in kept.values()}

    def _take_out(self, entry: FileEntry) -> None:
        twins = self._stored[entry.content]
        twins.remove(entry)
        if not twins:
            del self._stored[entry.content]
            self._idle.pop(entry.content, None)

    def _upload_first(self, content: Content, now: float) -> None:
        twins = self._stored.get(content, [])
        if any(twin.call is not None for twin in twins):
            return
        uses = ((twin, work) for twin in twins for work, _ in twin.uses)
        free = next((use for use in uses if self._is_free(use[1].key)), None)
        if free is None:
            self._idle[content] = None
            return
        entry, work = free
        found = entry.found
        assert found is not None
        self._idle.pop(content, None)
        self._uploading.add(work.key)
        call = self._lanes.new_call((work.asset.family, UPSERT), [work])
        name = entry.allowed.upload_name
        call.upload = UploadFile(entry.id, name, found.content_type, found.size)
        entry.call, entry.uploader = call, work
        self._by_call[call.id] = entry
        self._lanes.wait(call, now)

    def _is_free(self, key: Asset) -> bool:
        return key not in self._uploading

    def _note(self, entry: FileEntry, end: UploadEndName, now: float) -> None:
        seconds = round(now - entry.began_at, 3)
        self._news.append(FileUploadEnded(end=end, seconds=seconds, size=entry.size))


def _uploader_of(entry: FileEntry) -> AssetWork:
    assert entry.uploader is not None, "an upload under way is that of an asset"
    return entry.uploader
