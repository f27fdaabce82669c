"""The disk of a replica: what its downloads bring, and what becomes of that before its upload."""

import random
from dataclasses import dataclass, field

from service.core.effects import StartDownload
from service.core.inputs import Downloaded, DownloadEnd, DownloadFault
from service.core.requests import UploadFile
from tests.simulation.media import MediaPlan
from tests.support.file_source import FileSource, sha256_of

DISK_FULL = DownloadFault("The disk is full, so the file cannot be kept.", is_of_disk=True)


@dataclass
class ReplicaDisk(FileSource):
    """The folder of one replica, and the hosts from which it fetches files.

    `on_disk` is what the replica may believe: what it fetched and did not drop.
    """

    media: MediaPlan | None = None
    chance: random.Random = field(default_factory=random.Random)
    ends_at: float = 0.0
    began: dict[int, tuple[str, float]] = field(default_factory=dict)
    """The URL of each download, and when it began last."""
    gone: set[int] = field(default_factory=set)
    emptied: set[int] = field(default_factory=set)
    folder_made_at: float = 0.0
    """When the folder was made again, after somebody had removed it."""

    def begin(self, effect: StartDownload, now: float) -> None:
        """Note that a download began, and when."""
        self.start(effect)
        self.began[effect.file_id] = effect.url, now

    def url(self, file_id: int) -> str:
        """From where a file was fetched last."""
        return self.began[file_id][0]

    def find(self, effect: StartDownload, now: float) -> DownloadEnd:
        """What the URL led to when the download began."""
        assert self.media is not None, "no event names a file"
        _, began = self.began[effect.file_id]
        return self.media.fetch(effect.url, began, now, self.chance, self.ends_at)

    def end(self, file_id: int, now: float) -> DownloadEnd | None:
        """What the download ends with; a full disk keeps no file."""
        end = super().end(file_id, now)
        if not isinstance(end, Downloaded):
            return end
        assert self.media is not None, "no event names a file"
        if self.media.disk.is_full(now):
            del self.on_disk[file_id]
            return DISK_FULL
        if self.began[file_id][1] < self.folder_made_at:
            self.gone.add(file_id)  # it was written into the folder that was removed
        return end

    def drop(self, file_id: int) -> None:
        """Delete a file, if it is still there."""
        super().drop(file_id)
        self.gone.discard(file_id)
        self.emptied.discard(file_id)

    def damage(self, file_id: int, *, empties: bool) -> None:
        """Lose or empty a file, if the replica still has it."""
        if file_id in self.on_disk:
            (self.emptied if empties else self.gone).add(file_id)

    def remove_folder(self, now: float) -> None:
        """Lose all files, also those that are being written."""
        self.gone.update(self.on_disk)
        self.folder_made_at = now

    def is_lost(self, upload: UploadFile) -> bool:
        """Whether the edge finds a file not as it was downloaded, as `multipart.py` does."""
        file_id = upload.file_id
        is_empty = file_id in self.emptied and upload.size not in {None, 0}
        return file_id in self.gone or is_empty

    def sha256(self, file_id: int) -> str:
        """The digest of what an upload reads from disk."""
        return sha256_of("") if file_id in self.emptied else self.on_disk[file_id].sha256
