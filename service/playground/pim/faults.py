"""Faults on demand: which calls fail, how, and when (at once or as a scenario plans it)."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

FaultRoute = Literal[
    "any", "token", "read", "write", "upsert", "delete", "option", "upload", "download"
]
"""Which calls: `write` stands for upsert, delete, option and upload; `any` for all."""
_WRITES = frozenset({"upsert", "delete", "option", "upload"})


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to fail. Without `status`, `cut` or `hang` a call is only delayed."""

    route: FaultRoute = "write"
    """The calls that the fault hits."""
    family: str | None = None
    """Hit only calls to this family."""
    asset: str | None = None
    """Hit only calls that carry this asset."""
    times: int | None = 1
    """How many calls the fault hits; null: all, until it is removed."""
    status: int | None = None
    """Answer with this status."""
    body: Literal["html", "json", "empty"] = "html"
    """The body of an answer with `status`."""
    retry_after: str | None = None
    """The `Retry-After` header of an answer with `status`."""
    delay_seconds: float = 0.0
    """Wait this long before anything else happens."""
    hang: bool = False
    """Never answer; the call stays in flight until the caller gives up."""
    cut: Literal["before", "after"] | None = None
    """Cut the connection before the call is carried out, or after it (see `stored`)."""
    stored: int | None = None
    """With `cut: after`: how many items of a bulk call are stored first; null: all."""


@dataclass(frozen=True)
class FaultTarget:
    """A call, as far as faults are matched against it."""

    route: FaultRoute
    family: str | None = None
    assets: frozenset[str] = frozenset()


@dataclass
class Faults:
    """The faults that are active now, and those that a scenario plans."""

    _active: list[tuple[Fault, int | None, float]] = field(default_factory=list)
    """Each fault, how many calls it may still hit (None: all), and its end (monotonic)."""
    _planned: list[tuple[float, float, Fault]] = field(default_factory=list)
    """The beginning and the end of each planned fault (monotonic), and the fault."""

    def add(self, *faults: Fault, seconds: float = float("inf")) -> None:
        """Make the faults active from now on, for this many seconds."""
        until = time.monotonic() + seconds
        self._active += [(fault, fault.times, until) for fault in faults]

    def clear(self) -> None:
        self._active.clear()
        self._planned.clear()

    def plan(self, scenario: "Scenario") -> None:
        """Plan the faults of a scenario; its times count from now."""
        now = time.monotonic()
        self._planned += [
            (now + phase.at_seconds, now + phase.at_seconds + phase.for_seconds, phase.fault)
            for phase in scenario.phases
        ]

    @property
    def are_pending(self) -> bool:
        """Whether any fault may still strike."""
        return bool(self._active or self._planned)

    def strike(self, target: FaultTarget) -> Fault | None:
        """Return the first fault that hits this call, and count the hit."""
        now = time.monotonic()
        for planned in [planned for planned in self._planned if planned[0] <= now]:
            self._planned.remove(planned)
            self._active.append((planned[2], planned[2].times, planned[1]))
        self._active = [active for active in self._active if active[2] > now]
        for index, (fault, left, until) in enumerate(self._active):
            if not _hits(fault, target):
                continue
            if left is not None:
                self._active[index] = (fault, left - 1, until)
                if left <= 1:
                    del self._active[index]
            return fault
        return None


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault of a scenario, with its times in seconds from the simulator's start."""

    fault: Fault
    at_seconds: float = 0.0
    for_seconds: float = 1e9


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of faults: `{"phases": [{"at_seconds": 10, "for_seconds": 60, "fault": {…}}]}`."""

    phases: list[Phase]


def read_scenario(path: Path) -> Scenario:
    """Return the scenario in a JSON file.

    Raises:
        ValueError: the file cannot be read; the message names it and what is wrong.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Scenario)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _hits(fault: Fault, target: FaultTarget) -> bool:
    by_route = fault.route in {"any", target.route} or (
        fault.route == "write" and target.route in _WRITES
    )
    by_family = fault.family is None or fault.family == target.family
    return by_route and by_family and (fault.asset is None or fault.asset in target.assets)
