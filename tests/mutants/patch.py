"""One small bug as a replacement of text, and where it applies."""

from dataclasses import dataclass
from pathlib import Path

ROOMS = (
    *("service/core", "service/runtime", "service/adapters/kafka"),
    *("service/adapters/media", "service/mapping", "service/translation", "service/webhooks"),
    "service/adapters/transport.py",
)
"""Folders and files that mutants are put into; one that does not exist is left out."""


@dataclass(frozen=True)
class Written:
    """A bug that a person wrote. `old` stands exactly once in all rooms: it needs no file."""

    name: str
    holds: str
    """The promise of the contract, or the decision of the design, that it breaks."""
    old: str
    new: str
    breaks: str
    """What would happen to a user."""


@dataclass(frozen=True)
class Mutant:
    """A bug, ready to be put into a file."""

    name: str
    holds: str
    path: str
    """Relative to the root of the project."""
    line: int
    text: str
    """The whole file with the bug in it."""
    change: str
    """What is changed, for the table."""
    breaks: str


def sources(root: Path) -> dict[str, str]:
    """Every file of the rooms, by its path relative to the root."""
    rooms = [root / room for room in ROOMS]
    paths = sorted(
        path for room in rooms for path in ([room] if room.is_file() else room.rglob("*.py"))
    )
    return {path.relative_to(root).as_posix(): path.read_text() for path in paths}


def located(written: Written, files: dict[str, str]) -> Mutant:
    """The mutant of a written bug.

    Raises:
        ValueError: its old text does not stand exactly once in the rooms.
    """
    found = [path for path, text in files.items() for _ in range(text.count(written.old))]
    if len(found) != 1:
        where = ", ".join(found) or "nowhere"
        raise ValueError(f"{written.name}: its old text stands {len(found)} times ({where}).")
    text = files[found[0]]
    return Mutant(
        name=written.name,
        holds=written.holds,
        path=found[0],
        line=text[: text.index(written.old)].count("\n") + 1,
        text=text.replace(written.old, written.new),
        change=f"{_shown(written.old)} → {_shown(written.new)}",
        breaks=written.breaks,
    )


def _shown(code: str) -> str:
    return f"`{' '.join(code.split())}`" if code.strip() else "(removed)"
