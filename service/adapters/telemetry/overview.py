"""What the status page of `translate` and `ingress` shows: numbers as tiles, and tables."""

from collections.abc import Sequence
from typing import Any

import msgspec

Cell = str | int


class Tile(msgspec.Struct, frozen=True):
    """One number; with a limit, the page shows how much of it is used."""

    name: str
    value: str | float
    limit: float | None = None
    is_rate: bool = False
    """Whether the page shows how fast the value, a total, increases."""


class Table(msgspec.Struct, frozen=True):
    """One table of the page; each row has a cell for each column."""

    name: str
    """Identifies the table in the page."""
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Overview(msgspec.Struct, frozen=True):
    """The whole page."""

    program: str
    about: str
    uptime_seconds: float
    trouble: str
    """Why something does not work or waits; empty if all works."""
    tiles: Sequence[Tile]
    tables: Sequence[Table]

    def as_json(self) -> dict[str, Any]:
        """Return the data of the page as JSON values."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


def clock(utc_seconds: float) -> str:
    """Return a time of day in UTC, as the tables show it."""
    seconds = int(utc_seconds) % 86_400
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
