"""The files that assets wait for: each is fetched once, uploaded once, and dropped.

Rule 1: whoever waits for a file waits for all files of its step; then it goes on, or is ended.
Rule 2: a file is dropped as soon as nobody waits for it.
Rule 3: an asset gets what the source has after its change arrived. So it shares a download only if
that began later.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum

from service.core.facts import FileRemembered, RememberedBy
from service.core.group.asset_work import AssetWork, Ending, WorkFiles
from service.core.group.work_files import FoundFile, Place
from service.core.inputs import Downloaded, DownloadEnd, NotModified
from service.core.limits import Limits
from service.core.media.downloads import Downloads, failed, refused
from service.core.media.entry import FileEntry, FileState
from service.core.media.remembered import Remembered, content_of
from service.core.media.rules import Allowed, FileKey, Rules
from service.core.media.uploads import Uploads
from service.core.model import Asset, Now
from service.core.news import News
from service.core.recover.backoff import Jitter
from service.core.recover.call import Call
from service.core.recover.lanes import Lanes
from service.core.values import Attribute
from service.core.verdict_types import PimResponse

REPLACED_SECONDS_MAX = 60.0
"""A later change joins those that wait for a file only while they are younger than this: else an
asset that changes all the time would never be sent."""


class Found(Enum):
    """The result of looking for the files of an asset before its call."""

    READY = "ready"
    WAITING = "waiting"
    """It must wait until its files are in the PIM."""
    ENDED = "ended"
    """One of its files ends its step."""


class Files:
    """Knows every file that an asset waits for, and which codes the PIM gave."""

    def __init__(self, limits: Limits, jitter: Jitter, lanes: Lanes, news: News) -> None:
        self._news = news
        self._rules = Rules(limits.media)
        self._remembered = Remembered(limits.media.remembered_max)
        self.downloads = Downloads(limits, jitter, news)
        self.uploads = Uploads(lanes, news)
        self._entries: dict[int, FileEntry] = {}
        """By their ids."""
        self._newest: dict[FileKey, FileEntry] = {}
        """Of the entries of one file, the one whose source was or will be asked last."""
        self._waiting: dict[Asset, dict[Place, FileEntry]] = {}
        """For which files each asset still waits, by the key under which it is busy."""
        self._made = 0

    # --- before a call -----------------------------------------------------------------------

    def look(self, work: AssetWork, attributes: Mapping[str, Attribute]) -> Found:
        """Look for the files that the step names, and let the asset wait for those not there."""
        assert work.key not in self._waiting, "whoever waits is in no call"
        files = work.files = work.files or WorkFiles()
        wanted: dict[Place, Allowed] = {}
        for place in work.places():
            if place in files.ends:
                return Found.ENDED
            if place in files.found:
                continue
            judged = self._rules.judge(place[1], attributes.get(place[0]))
            if isinstance(judged, str):
                files.ends[place] = refused(judged)
                return Found.ENDED
            if not self._is_known(work, place, judged.key):
                wanted[place] = judged
        for place, allowed in wanted.items():
            self._wait(work, place, allowed)
        return Found.WAITING if wanted else Found.READY

    def _is_known(self, work: AssetWork, place: Place, key: FileKey) -> bool:
        """Return whether the PIM has the content that the event names."""
        if key.sha256 is None:
            return False
        found = self._remembered.find(content_of(key.sha256, key.extension))
        if found is not None:
            self._note_remembered([(work, place)], found, "sha256")
        return found is not None

    def _wait(self, work: AssetWork, place: Place, allowed: Allowed) -> None:
        entry = self._newest.get(allowed.key)
        if entry is None or not entry.is_newer_than(work):
            entry = self._new_entry(allowed)
        entry.uses.append((work, place))
        self._waiting.setdefault(work.key, {})[place] = entry

    def _new_entry(self, allowed: Allowed) -> FileEntry:
        self._made += 1
        key = allowed.key
        seen = None if key.sha256 else self._remembered.seen(key.url, key.extension)
        entry = FileEntry(self._made, allowed, seen=seen)
        self._entries[entry.id] = self._newest[key] = entry
        self.downloads.add(entry)
        return entry

    # --- downloads ---------------------------------------------------------------------------

    def download_ended(self, file_id: int, end: DownloadEnd, now: Now) -> list[AssetWork]:
        """Take the end of a download; return the assets that wait for no file any more."""
        ended = self.downloads.ended(file_id, end, now)
        if ended is None:
            return []
        entry, found = ended
        match found:
            case Downloaded():
                return self._fetched(entry, found, now)
            case NotModified():
                return self._not_modified(entry)
            case Ending():
                return self._end(entry, found)

    def waited_too_long(self, now: Now) -> list[AssetWork]:
        """End the files whose host has failed for too long; return whom that lets go on."""
        freed: list[AssetWork] = []
        for entry, ending in list(self.downloads.waited_too_long(now)):
            if entry.uses:  # else whoever waited for it was ended by another file
                freed += self._end(entry, ending)
        return freed

    def _fetched(self, entry: FileEntry, found: Downloaded, now: Now) -> list[AssetWork]:
        self._remembered.note_seen(entry.key.url, found.etag, entry.content)
        remembered = self._remembered.find(entry.content, found.size)
        if remembered is not None:
            return self._give_remembered(entry, remembered, "content")
        self.uploads.add(entry, now.seconds)
        return []

    def _not_modified(self, entry: FileEntry) -> list[AssetWork]:
        seen, entry.seen = entry.seen, None
        assert seen is not None, "only what was seen before can be unchanged"
        remembered = self._remembered.find(seen.content)
        if remembered is None:  # forgotten meanwhile: it is fetched whole
            self.downloads.add(entry)
            return []
        return self._give_remembered(entry, remembered, "etag")

    # --- uploads -----------------------------------------------------------------------------

    def uploaded(self, call: Call, code: str, now: float) -> list[AssetWork]:
        """Note the code of a file; return the assets that wait for no file any more."""
        call.batch[0].forget_failures()
        twins = self.uploads.ended(call, "uploaded", now)
        for entry in twins:
            self._remembered.note_code(entry.content, code)
            found = FoundFile(code, entry.content, entry.size, is_remembered=False)
            for work, place in entry.uses:
                _files_of(work).found[place] = found
        freed = self._resolve(twins)
        self.uploads.go_on(now)
        return freed

    def upload_refused(self, call: Call, response: PimResponse, now: float) -> list[AssetWork]:
        """End a file that the PIM refused; return the assets that go on without it."""
        twins = self.uploads.ended(call, "refused", now)
        for entry in twins:
            message = f"The PIM refused the file {entry.shown}."
            ending = Ending("rejected", reason="refused_by_pim", response=response, message=message)
            _note_end(entry, ending)
        freed = self._resolve(twins)
        self.uploads.go_on(now)
        return freed

    def upload_lost(self, call: Call, message: str, now: Now) -> list[AssetWork]:
        """Fetch a file again that is no longer on disk; return the assets that go on without it."""
        entry = self.uploads.lost(call, now.seconds)
        if entry is None:
            return []
        ending = self.downloads.lost(entry, message, now)
        freed = self._end(entry, ending) if ending is not None else []
        (work,) = call.batch
        if ending is None and work.is_ended_by_files:  # it waited for its own upload alone
            self.leave(work, now.seconds)
            freed = [work]
        self.uploads.go_on(now.seconds)
        return freed

    def give_up_upload(self, work: AssetWork) -> str | None:
        """Note that the asset's upload failed too often; return the file's URL for people.

        Return None if the asset has none: it waits for a download, or for nothing.
        """
        shown = None
        for place, entry in self._waiting.get(work.key, {}).items():
            if entry.uploader is work:
                _files_of(work).not_uploaded.add(place)
                shown = entry.shown
        return shown

    # --- codes that the PIM does not take any more -------------------------------------------

    def forget_codes(self, work: AssetWork) -> bool:
        """Forget the remembered codes that a refused step used; return whether to try it again.

        That happens once for an asset's work: the second time the PIM refuses something else.
        """
        files = work.files
        if files is None or files.has_forgotten:
            return False
        for place in work.places():
            if files.found[place].is_remembered:
                files.has_forgotten = True
                self._remembered.forget(files.found.pop(place))
        return files.has_forgotten

    # --- assets that end, merge or wait no longer --------------------------------------------

    @property
    def waiting(self) -> Collection[Asset]:
        """The assets that wait for files, with their codes' case folded."""
        return self._waiting.keys()

    def may_merge(self, work: AssetWork, budget: float) -> bool:
        """Return whether a later change may join those that wait: nothing was begun for them."""
        waiting = self._waiting.get(work.key)
        if waiting is None or not work.is_new:
            return False
        changes = work.open_changes
        if changes[0].admitted_at < budget - REPLACED_SECONDS_MAX:
            return False
        return not any(change.attempts for change in changes) and all(
            entry.is_untouched for entry in waiting.values()
        )

    def leave(self, work: AssetWork, now: float) -> None:
        """Let the asset wait no longer: its step ended, or its changes merge with a later one."""
        left = dict.fromkeys(self._waiting.pop(work.key, {}).values())
        for entry in left:  # first, or it would upload one as the next asset of another
            entry.uses = [use for use in entry.uses if use[0] is not work]
        for entry in left:
            if entry.state is FileState.STORED:
                self.uploads.leave(entry, work, now)
            if not entry.uses:
                self._drop(entry)
        self.uploads.go_on(now)

    def failing_works(self) -> Iterable[AssetWork]:
        """Return the assets that wait for a file which could not be fetched so far."""
        return {
            work.key: work
            for entry in self._entries.values()
            if self.downloads.is_failing(entry)
            for work, _ in entry.uses
        }.values()

    def give_up(self, work: AssetWork, message: str) -> list[AssetWork]:
        """End the asset's files that could not be fetched so far; return it if that ends it."""
        waiting = self._waiting.get(work.key, {})
        failing = {
            place: entry for place, entry in waiting.items() if self.downloads.is_failing(entry)
        }
        if not failing:
            return []
        for place, entry in failing.items():
            _files_of(work).ends[place] = failed(entry, message)
        self._leave_idle(work, waiting)
        return self._free(work, waiting)

    def drop_waiting(self, in_flight: Collection[int]) -> None:
        """Drop all files but those that these calls upload, and whoever waits but for those."""
        self._waiting.clear()
        kept = self.uploads.keep(in_flight)
        for entry in list(self._entries.values()):
            if entry.id in kept:
                work = entry.uploader
                assert work is not None
                entry.uses = [use for use in entry.uses if use[0] is work]
                self._waiting[work.key] = {place: entry for _, place in entry.uses}
            else:
                entry.uses.clear()
                self._drop(entry)

    # --- inside ------------------------------------------------------------------------------

    def _give_remembered(
        self, entry: FileEntry, found: FoundFile, by: RememberedBy
    ) -> list[AssetWork]:
        self._note_remembered(entry.uses, found, by)
        return self._resolve([entry])

    def _note_remembered(
        self, uses: Iterable[tuple[AssetWork, Place]], found: FoundFile, by: RememberedBy
    ) -> None:
        for work, place in uses:
            _files_of(work).found[place] = found
        self._news.append(FileRemembered(by))

    def _end(self, entry: FileEntry, ending: Ending) -> list[AssetWork]:
        _note_end(entry, ending)
        return self._resolve([entry])

    def _resolve(self, entries: Sequence[FileEntry]) -> list[AssetWork]:
        """Let nobody wait for these files any longer; return the assets that wait for no other.

        An asset may wait for several of them, so all are left before any asset goes on.
        """
        uses = [use for entry in entries for use in entry.uses]
        for entry in entries:
            self._drop(entry)
            entry.uses = []
        for work, place in uses:
            del self._waiting[work.key][place]
        for work, place in uses:
            if place in _files_of(work).ends:
                self._leave_idle(work, self._waiting[work.key])
        works = {work.key: work for work, _ in uses}.values()
        return [freed for work in works for freed in self._free(work, self._waiting[work.key])]

    def _free(self, work: AssetWork, waiting: dict[Place, FileEntry]) -> list[AssetWork]:
        """Return the asset if it waits for no file any longer."""
        if waiting:
            return []
        del self._waiting[work.key]
        return [work]

    def _leave_idle(self, work: AssetWork, waiting: dict[Place, FileEntry]) -> None:
        """Let an asset that is ended wait only for uploads that are its own calls."""
        for place, entry in list(waiting.items()):
            if entry.uploader is work:
                continue
            del waiting[place]
            entry.uses.remove((work, place))
            if entry.state is FileState.STORED:
                self.uploads.drop_unused(entry)
            if not entry.uses:
                self._drop(entry)

    def _drop(self, entry: FileEntry) -> None:
        del self._entries[entry.id]
        if self._newest.get(entry.key) is entry:
            del self._newest[entry.key]
        self.downloads.stop(entry)


def _note_end(entry: FileEntry, ending: Ending) -> None:
    for work, place in entry.uses:
        _files_of(work).ends[place] = ending


def _files_of(work: AssetWork) -> WorkFiles:
    assert work.files is not None, "whoever waits for files has some"
    return work.files
