"""The files of a world: where they are kept, what is wrong with them, and what they may take."""

import random
from dataclasses import dataclass
from typing import Literal

from service.core.inputs import Downloaded, DownloadEnd, DownloadFault, DownloadRefused
from service.core.limits import MediaOptions
from tests.support.file_source import FILE_BYTES, downloaded, sha256_of

FILES = 0x1000000
"""Files came later than all other traits of a world: they have chances of their own."""

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

    def fetch(self, url: str, now: float, chance: random.Random, ends_at: float) -> DownloadEnd:
        """What a download ends with at this time."""
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
        return self.found(file)

    @staticmethod
    def found(file: PlannedFile) -> Downloaded:
        """The file, on disk."""
        return downloaded(file.content)


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
