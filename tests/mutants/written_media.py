"""The written bugs of media files: each breaks a sentence of docs/contract.md §9 or docs/media.md.

`holds` names the section of the contract, the promise, or the part of docs/media.md.
"""

from tests.mutants.patch import Written

OF_MEDIA = (
    # --- what may be fetched ----------------------------------------------------------------
    Written(
        "private-address-is-asked",
        "media: hosts",
        "        return Target(url, self._private if is_private else self._public)",
        "        return Target(url, self._private)",
        "An event reads what only hosts inside the network may read.",
    ),
    Written(
        "redirect-to-any-host",
        "media: hosts",
        "        if not self._hosts.allow(host):\n            raise NotAskedError(",
        "        if False:\n            raise NotAskedError(",
        "A host that is allowed sends us to one that is not.",
    ),
    Written(
        "domain-without-its-dot",
        "media: hosts",
        '        self._domains = tuple(name[1:] for name in allowed if name.startswith("*."))',
        '        self._domains = tuple(name[2:] for name in allowed if name.startswith("*."))',
        "*.cdn.example allows evilcdn.example.",
    ),
    Written(
        "extension-is-not-checked",
        "§9",
        "if attribute.extensions is not None and extension not in attribute.extensions:",
        "if False:",
        "A file is fetched and uploaded that the attribute does not take.",
    ),
    Written(
        "query-of-a-file-is-shown",
        "§9",
        "        return shown_url(self.key.url)",
        "        return self.key.url",
        "Outcomes and logs have the signatures of URLs.",
    ),
    # --- downloads --------------------------------------------------------------------------
    Written(
        "disk-is-not-reserved",
        "P6, media: disk",
        "            self._resize(entry, entry.key.bytes_max)",
        "            self._resize(entry, 0)",
        "Downloads at once fill the disk.",
    ),
    Written(
        "disk-without-limit",
        "P6, media: disk",
        "if entry is None or self.disk_bytes + entry.key.bytes_max > media.disk_bytes_max:",
        "if entry is None:",
        "Files that wait for the PIM fill the disk.",
    ),
    Written(
        "uploaded-file-stays-on-disk",
        "P6, media: disk",
        "            self._drop(entry)\n            entry.uses = []",
        "            del self._entries[entry.id]\n            entry.uses = []",
        "The disk fills with files that nobody needs.",
    ),
    Written(
        "files-left-one-by-one",
        "§9",
        "        for entry in left:  # first, or it would upload one as the next asset of another\n"
        "            entry.uses = [use for use in entry.uses if use[0] is not work]\n"
        "        for entry in left:\n",
        "        for entry in left:\n"
        "            entry.uses = [use for use in entry.uses if use[0] is not work]\n",
        "An asset that names one content twice, and ends, ends the replica.",
    ),
    Written(
        "refused-files-end-one-by-one",
        "§9",
        "            _note_end(entry, ending)\n        freed = self._resolve(twins)",
        "            _note_end(entry, ending)\n"
        "        freed = [work for twin in twins for work in self._resolve([twin])]",
        "An asset that names one content twice, which the PIM refuses, ends the replica.",
    ),
    Written(
        "cancelled-download-keeps-its-place",
        "P5",
        '            self._note_end(entry, "cancelled", now)\n            self._queue.ended(entry)',
        '            self._note_end(entry, "cancelled", now)',
        "A failing host is never asked again.",
    ),
    Written(
        "cancelled-download-goes-on",
        "D8",
        "            task.cancel()\n            # A task",
        "            # A task",
        "A file that nobody waits for takes a place until it has arrived.",
    ),
    Written(
        "failing-host-is-asked-for-all",
        "§9",
        "        return not self.is_failing or (self.probe is None and now >= self.not_before)",
        "        return True",
        "A host that is down takes all downloads, and its neighbours wait.",
    ),
    Written(
        "unasked-host-is-well",
        "§9",
        "                if is_from_host:",
        "                if True:",
        "A URL that cannot be asked lets all files of a host that is down be asked for at once.",
    ),
    Written(
        "source-says-when-in-vain",
        "media: ends",
        "        self._queue.add_later(entry, now.seconds + max(wait, _seconds_asked_for(fault)))",
        "        self._queue.add_later(entry, now.seconds + wait)",
        "A source that throttles is asked at once, and the change fails.",
    ),
    Written(
        "etag-is-not-sent",
        "§9",
        "            etag = entry.seen.etag if entry.seen is not None else None",
        "            etag = None",
        "A file that has not changed is fetched for every event.",
    ),
    Written(
        "digest-is-not-checked",
        "§9",
        "    if entry.key.sha256 not in {None, found.sha256}:",
        "    if False:",
        "Another file than the one of the event is uploaded.",
    ),
    Written(
        "size-as-it-is-announced",
        "§9",
        "        if self._file.size + len(self._buffer) > self._bytes_max:",
        "        if False:",
        "A source that does not say how long a file is fills the disk.",
    ),
    Written(
        "cut-file-counts",
        "media: disk",
        '    if not length.isdecimal() and "transfer-encoding" not in headers:',
        "    if False:",
        "Half of a file is uploaded.",
    ),
    Written(
        "rest-of-another-file",
        "media: ends",
        'f"bytes={asked.offset}-", "if-range": asked.resumes}',
        'f"bytes={asked.offset}-"}',
        "Halves of two versions are uploaded as one file.",
    ),
    Written(
        "whole-file-behind-its-half",
        "media: ends",
        "        if body.offset == self.received:",
        "        if True:",
        "A file that changed meanwhile is uploaded behind the half of the old one.",
    ),
    Written(
        "abandoned-folders-stay",
        "media: disk",
        "        _remove_abandoned(directory)",
        "        pass",
        "Every kill leaves its files on disk.",
    ),
    Written(
        "folder-of-a-neighbour-is-removed",
        "media: disk",
        "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "A replica that starts removes the files of another on its machine.",
    ),
    # --- uploads, and the assets that wait --------------------------------------------------
    Written(
        "asset-does-not-wait-for-its-file",
        "§9",
        "            if found is not Found.READY:",
        "            if found is Found.ENDED:",
        "An asset is written without its file.",
    ),
    Written(
        "uploads-take-all-slots",
        "§9, D6",
        "        return len(self.uploads_in_flight) < max(1, self.cap // 2)",
        "        return len(self.uploads_in_flight) < self.cap",
        "A few large files hold up every other write.",
    ),
    Written(
        "one-content-uploaded-twice",
        "§9",
        "        if any(twin.call is not None for twin in twins):",
        "        if False:",
        "The PIM gets a file for each signed URL of it.",
    ),
    Written(
        "upload-is-not-remembered",
        "§9",
        "            self._remembered.note_code(entry.content, code)",
        "            pass",
        "The PIM gets the same file again with every event.",
    ),
    Written(
        "lost-file-is-refused",
        "P4, §9",
        "            return FileLost(fault.message)",
        '            return Refused("refused_by_pim", response)',
        "A directory that somebody emptied rejects changes, and ends an outage.",
    ),
    Written(
        "refused-code-is-kept",
        "§9",
        "                self._remembered.forget(files.found.pop(place))",
        "                files.found.pop(place)",
        "A file that was deleted in the PIM is missing until a restart.",
    ),
    Written(
        "next-asset-does-not-upload",
        "P1",
        "        self.drop_unused(entry)\n        self._upload_first(entry.content, now)",
        "        self.drop_unused(entry)",
        "Assets wait for ever for a file whose uploader was deleted.",
    ),
)
