"""A file that assets wait for, from its first mention until the PIM has it."""

from dataclasses import dataclass, field
from enum import Enum

from service.contracts.text import shown_url
from service.core.group.asset_work import AssetWork
from service.core.group.work_files import Content, Place
from service.core.inputs import Downloaded
from service.core.media.remembered import Seen, content_of
from service.core.media.rules import Allowed, FileKey
from service.core.recover.call import Call


class FileState(Enum):
    """Where a file is."""

    WAITING = "waiting"
    """At its source: its download has not begun, or is to be tried again."""
    DOWNLOADING = "downloading"
    STORED = "stored"
    """On disk, to be uploaded."""


@dataclass(slots=True, eq=False)
class FileEntry:
    """One file, and the assets that wait for it."""

    id: int
    allowed: Allowed
    uses: list[tuple[AssetWork, Place]] = field(default_factory=list)
    state: FileState = FileState.WAITING
    size: int = 0
    """Bytes on disk; while it is fetched, as many as it may have."""
    seen: Seen | None = None
    """What the source is asked about: whether the file is still this one."""
    began_at: float = 0.0
    """When its download, or its last upload, began (monotonic seconds)."""
    asked_at: float = 0.0
    """When its last download began, by the budget clock."""
    failures: int = 0
    """Downloads that failed since the last one that succeeded."""
    tries: int = 0
    """Those of them that use up its retry budget, which are not the disk's, and the losses."""
    losses: int = 0
    """How often it was lost from disk before it was uploaded."""
    failing_since: float | None = None
    """When the first of the failures, or the first loss, happened (budget clock)."""
    lost_since: float | None = None
    """When the first loss happened (budget clock)."""
    last_fault: str | None = None
    found: Downloaded | None = None
    call: Call | None = None
    """The call that uploads it, waiting or in flight."""
    uploader: AssetWork | None = None
    """The asset of that call, also when it was taken out because it ended."""

    @property
    def key(self) -> FileKey:
        return self.allowed.key

    @property
    def host(self) -> str:
        return self.allowed.host

    @property
    def shown(self) -> str:
        """The file's URL for people."""
        return shown_url(self.key.url)

    @property
    def content(self) -> Content:
        """What the file on disk holds."""
        assert self.found is not None
        return content_of(self.found.sha256, self.key.extension)

    @property
    def oldest_admitted_at(self) -> float:
        """When the oldest change that waits for the file was admitted, by the budget clock."""
        return min(work.open_changes[0].admitted_at for work, _ in self.uses)

    def is_newer_than(self, work: AssetWork) -> bool:
        """Return whether its source is, or was, asked only after the asset's last change arrived.

        What it had before may be another file, unless the event says its digest. The last change
        of all steps counts, because a later step may name the same file. The clock of budgets may
        stand still, so equal times mean nothing.
        """
        if self.key.sha256 is not None or self.state is FileState.WAITING:
            return True
        return work.open_changes[-1].admitted_at < self.asked_at

    @property
    def is_untouched(self) -> bool:
        """Whether its source was not asked for it yet."""
        return self.state is FileState.WAITING and not self.failures and not self.losses

    def note_found(self, found: Downloaded) -> None:
        """Note that the file was fetched: its source works, only losses count against it."""
        self.found = found
        self.failures = 0
        self.tries = self.losses
        self.failing_since = self.lost_since

    def note_loss(self, budget: float) -> None:
        """Note that the file was lost: its source is not failing."""
        self.state = FileState.WAITING
        self.losses += 1
        self.tries += 1
        if self.lost_since is None:
            self.lost_since = budget
        if self.failing_since is None:
            self.failing_since = budget

    def note_failure(self, budget: float, *, is_of_disk: bool) -> None:
        """Note that a download failed. A disk that takes no file uses up no tries."""
        self.failures += 1
        self.tries += not is_of_disk
        if self.failing_since is None:
            self.failing_since = budget
