"""The files of a world: where they are kept, what is wrong with them, and what they may take."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from msgspec import structs

from service.core.inputs import Downloaded, DownloadEnd, DownloadFault, DownloadRefused
from service.core.limits import MediaOptions
from tests.support.file_source import FILE_BYTES, downloaded, sha256_of

FILES = 0x1000000
"""Files came later than all other traits of a world: they have chances of their own."""

CHANGES = 0x4000000
"""Likewise the files that change at their source."""

DISK = 0x8000000
"""Likewise the disks that fail."""

SLOW_SECONDS = 10.0

HOSTS = ("cdn.example", "other.example")
ATTRIBUTES = ("f0", "f1")
"""The attributes that take files."""

Flaw = Literal[
    "gone", "too large", "wrong digest", "wrong host", "wrong extension", "refused", "poison"
]
FLAWS: tuple[Flaw, ...] = (
    "gone",
    "too large",
    "wrong digest",
    "wrong host",
    "wrong extension",
    "refused",
)
"""Why a file never reaches an asset; `refused` by the PIM, all others before any call.

A `poison` file makes the PIM answer 500 until its administrator has mended that.
"""


@dataclass(frozen=True)
class PlannedFile:
    """A file that events name."""

    url: str
    content: str
    sha256: str | None
    flaw: Flaw | None

    @property
    def value(self) -> dict[str, str]:
        """The value as an event has it."""
        return {"url": self.url} | ({"sha256": self.sha256} if self.sha256 else {})


@dataclass(frozen=True)
class ChangePlan:
    """How files change at their source."""

    contents: Mapping[str, tuple[tuple[float, str], ...]] = field(default_factory=dict)
    """When a URL begins to lead to another content, in order, and to which."""
    hot: PlannedFile | None = None
    """A file that many upserts name in the place of another, so that they share it."""
    hot_share: float = 0.0
    slow_share: float = 0.0
    """Chance of a download that takes up to `SLOW_SECONDS` longer, until the faults end."""
    has_etags: bool = True


NO_CHANGES = ChangePlan()


@dataclass(frozen=True)
class DiskPlan:
    """How the disks of the replicas fail."""

    full: tuple[tuple[float, float], ...] = ()
    """When they take no file."""
    damaged_share: float = 0.0
    """Chance of a file that is lost or emptied soon after it was fetched, until the faults end."""
    folders_removed: tuple[tuple[float, int], ...] = ()
    """When somebody removes the folder of which replica, with all files in it."""

    def is_full(self, now: float) -> bool:
        """Return whether no file can be kept at this time."""
        return any(start <= now < end for start, end in self.full)


NO_FAULTS = DiskPlan()


@dataclass(frozen=True)
class MediaPlan:
    """The files of a world, its hosts, and the limits of its replicas."""

    files: tuple[PlannedFile, ...]
    share: float
    """Chance of an upsert that names a file, for each attribute that takes one."""
    seconds: float
    """A download takes up to twice as long."""
    fault_share: float
    """Chance of a download that fails, until the faults of the world end."""
    outages: tuple[tuple[float, float, str], ...]
    """When which host fails for every file."""
    forgets_at: tuple[float, ...]
    """When the PIM forgets the codes of the files that it was given."""
    file_bytes_max: int
    disk_files: int
    """How many files of the largest size fit on a replica's disk."""
    downloads_at_once_max: int
    remembered_max: int
    lost_share: float
    """Chance of an upload whose file is no longer on disk, until the faults of the world end."""
    changes: ChangePlan = NO_CHANGES
    disk: DiskPlan = NO_FAULTS

    @property
    def is_poisoned(self) -> bool:
        return any(file.flaw == "poison" for file in self.files)

    @property
    def options(self) -> MediaOptions:
        return MediaOptions(
            hosts=frozenset({HOSTS[0], "*.example"}),
            file_bytes_max=self.file_bytes_max,
            disk_bytes_max=self.file_bytes_max * self.disk_files,
            downloads_at_once_max=self.downloads_at_once_max,
            remembered_max=self.remembered_max,
        )

    def without_later(self) -> "MediaPlan":
        """The same files without the traits that came after them."""
        return replace(self, lost_share=0.0, changes=NO_CHANGES, disk=NO_FAULTS)

    def content(self, url: str, time: float) -> str:
        """What a URL leads to at this time."""
        return [*self.contents_since(url, 0.0, time)][-1]

    def contents_since(self, url: str, since: float, until: float) -> Iterator[str]:
        """Yield what a URL led to at these times, in order."""
        found = next(file.content for file in self.files if file.url == url)
        for begins, content in self.changes.contents.get(url, ()):
            if since < begins <= until:
                yield found
            if begins <= until:
                found = content
        yield found

    @property
    def contents(self) -> dict[str, str]:
        """All contents by their digests; an emptied file has one too."""
        later = [one for changes in self.changes.contents.values() for _, one in changes]
        return {sha256_of(one): one for one in ("", *later, *(file.content for file in self.files))}

    def fetch(
        self, url: str, began: float, now: float, chance: random.Random, ends_at: float
    ) -> DownloadEnd:
        """What a download ends with at this time; a host sends what it had at the beginning."""
        file = next(file for file in self.files if file.url == url)
        host = url.split("/")[2]
        if any(start <= now < end and name == host for start, end, name in self.outages):
            return DownloadFault("No connection.")
        if now < ends_at and chance.random() < self.fault_share:
            return DownloadFault("503.", chance.choice((None, 1.0, 5.0)))
        if file.flaw == "gone":
            return DownloadRefused("the host answers 404.")
        if file.flaw == "too large":
            return DownloadRefused("it is too large.")
        return self.found(self.content(url, began))

    def found(self, content: str) -> Downloaded:
        """The file, on disk."""
        found = downloaded(content)
        return found if self.changes.has_etags else structs.replace(found, etag=None)


def media_of(seed: int, ends_at: float, *, rough: bool, calm: bool) -> MediaPlan | None:
    """The files of a seed's world, of which half have none."""
    chance = random.Random(seed ^ FILES)
    if chance.random() < 0.5:
        return None
    count = chance.choice((1, 3, 12))
    files = tuple(_file(chance, number, rough=rough) for number in range(count))
    return MediaPlan(
        files=files,
        share=chance.choice((0.1, 0.5, 1.0)),
        seconds=chance.choice((0.01, 0.5, 5.0)),
        fault_share=chance.choice((0.0, 0.2)) if rough else 0.0,
        outages=tuple(
            (start := chance.uniform(0, ends_at), start + chance.choice((30.0, 900.0)), host)
            for host in HOSTS[: chance.randint(0, 2) if rough else 0]
        ),
        forgets_at=tuple(
            chance.uniform(0, ends_at) for _ in range(0 if calm else chance.choice((0, 0, 3)))
        ),
        file_bytes_max=FILE_BYTES,
        disk_files=chance.choice((1, 2, 100)),
        downloads_at_once_max=chance.choice((1, 4)),
        remembered_max=chance.choice((1, 3, 1_000)),
        lost_share=chance.choice((0.0, 0.5)) if rough else 0.0,
        changes=_changes(random.Random(seed ^ CHANGES), files, ends_at),
        disk=_disk(random.Random(seed ^ DISK), ends_at, rough=rough, calm=calm),
    )


def _changes(chance: random.Random, files: tuple[PlannedFile, ...], ends_at: float) -> ChangePlan:
    """How the files of half of the worlds change."""
    if chance.random() < 0.5:
        return NO_CHANGES
    contents = {}
    for number, file in enumerate(files):
        later = _later_contents(chance, number, ends_at)
        if file.flaw is None and later:
            contents[file.url] = later
    hot = [file for file in files if file.url in contents and file.sha256 is None]
    return ChangePlan(
        contents=contents,
        hot=max(hot, key=lambda file: len(contents[file.url]), default=None),
        hot_share=chance.choice((0.0, 0.5, 1.0)),
        slow_share=chance.choice((0.0, 0.5, 1.0)),
        has_etags=chance.random() < 0.7,
    )


def _later_contents(
    chance: random.Random, number: int, ends_at: float
) -> tuple[tuple[float, str], ...]:
    """The contents that a file has later, and from when on: new ones, or those of other files."""
    times = sorted(chance.uniform(0, ends_at) for _ in range(chance.choice((0, 1, 5, 30))))
    return tuple(
        (time, f"c{chance.randrange(number + 1)}" if chance.random() < 0.3 else f"n{number}.{n}")
        for n, time in enumerate(times)
    )


def _disk(chance: random.Random, ends_at: float, *, rough: bool, calm: bool) -> DiskPlan:
    """How the disks fail, in half of the worlds that have faults."""
    if calm or chance.random() < 0.5:
        return NO_FAULTS
    spells = (5.0, 60.0) if rough else (5.0, 20.0)
    starts = [chance.uniform(0, ends_at) for _ in range(chance.choice((0, 1, 2)))]
    return DiskPlan(
        full=tuple((start, start + chance.choice(spells)) for start in starts),
        damaged_share=chance.choice((0.0, 0.5)) if rough else 0.0,
        folders_removed=tuple(
            (chance.uniform(0, ends_at), chance.randrange(8)) for _ in range(chance.choice((0, 2)))
        ),
    )


def _file(chance: random.Random, number: int, *, rough: bool) -> PlannedFile:
    flaws = (*FLAWS, "poison", "poison") if rough else FLAWS
    flaw = chance.choice(flaws) if chance.random() < 0.2 else None
    # Assets may name one content twice, under two URLs; what the PIM refuses, too.
    content = f"c{chance.randrange(number + 1)}" if flaw is None else f"{flaw}{number % 2}"
    host = "elsewhere.test" if flaw == "wrong host" else chance.choice(HOSTS)
    extension = "gif" if flaw == "wrong extension" else chance.choice(("jpg", "png"))
    sha256 = sha256_of(content) if chance.random() < 0.3 else None
    if flaw == "wrong digest":
        sha256 = sha256_of("another")
    return PlannedFile(f"https://{host}/{number}.{extension}", content, sha256, flaw)
