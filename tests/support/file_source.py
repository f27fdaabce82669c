"""Where files come from in virtual time: what a download ends with, and what is on disk."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from service.core.effects import StartDownload
from service.core.inputs import Downloaded, DownloadEnd, DownloadFault, NotModified

FILE_BYTES = 1_000
CANCELLED = DownloadFault("cut", is_cancelled=True)

Answer = Callable[[str, float], DownloadEnd | None]
"""What a URL leads to at a time (seconds); None: to a file of its own."""


def sha256_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def downloaded(content: str, size: int = FILE_BYTES) -> Downloaded:
    """A file with this content, and an ETag that changes with it."""
    digest = sha256_of(content)
    return Downloaded(digest, size, etag=f'"{digest[:8]}"', content_type="image/jpeg")


@dataclass
class FileSource:
    """Every URL leads to a file with the URL as its content, unless `answer` says otherwise."""

    answer: Answer = lambda _url, _now: None
    seconds: float = 1.0
    started: list[StartDownload] = field(default_factory=list)
    running: dict[int, StartDownload] = field(default_factory=dict)
    on_disk: dict[int, Downloaded] = field(default_factory=dict)
    at_once_max: int = 0
    bytes_max: int = 0
    """The most that was on disk, with what downloads in flight could have brought."""

    def start(self, effect: StartDownload) -> None:
        """Note that a download began."""
        assert effect.file_id not in self.running
        assert effect.file_id not in self.on_disk
        self.started.append(effect)
        self.running[effect.file_id] = effect
        self.at_once_max = max(self.at_once_max, len(self.running))
        taken = sum(start.bytes_max for start in self.running.values())
        self.bytes_max = max(self.bytes_max, taken + sum(f.size for f in self.on_disk.values()))

    def end(self, file_id: int, now: float) -> DownloadEnd | None:
        """What the download ends with; None if it was cancelled."""
        effect = self.running.pop(file_id, None)
        if effect is None:
            return None
        end = self.find(effect, now)
        if isinstance(end, Downloaded):
            if effect.etag is not None and effect.etag == end.etag:
                return NotModified()
            self.on_disk[file_id] = end
        return end

    def find(self, effect: StartDownload, now: float) -> DownloadEnd:
        """What the URL leads to, whether or not it is what the replica has seen before."""
        return self.answer(effect.url, now) or downloaded(effect.url)

    def drop(self, file_id: int) -> None:
        """Delete a file, which must be there."""
        del self.on_disk[file_id]

    @property
    def urls(self) -> list[str]:
        """What was asked for, in order."""
        return [effect.url for effect in self.started]
