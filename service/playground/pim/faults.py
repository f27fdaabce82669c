"""What goes wrong on demand: by route, family and asset, now or by a scenario's clock."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

Route = Literal["any", "token", "read", "write", "upsert", "delete", "option"]
_WRITES = frozenset({"upsert", "delete", "option"})


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to fail. Without `status`, `cut` or `hang` the call is only delayed."""

    route: Route = "write"
    """Which calls."""
    family: str | None = None
    """Only calls to this family."""
    asset: str | None = None
    """Only calls that carry this asset."""
    times: int | None = 1
    """How many calls; null: all, until it is taken back."""
    status: int | None = None
    """Answer with this status."""
    body: Literal["html", "json", "empty"] = "html"
    """And this body."""
    retry_after: str | None = None
    """And this Retry-After."""
    delay_seconds: float = 0.0
    """Before anything else."""
    hang: bool = False
    """Never answer."""
    cut: Literal["before", "after"] | None = None
    """Cut the connection: before the call was carried out, or after it (or its prefix)."""
    stored: int | None = None
    """With `cut: after`: only so many items of a bulk call are stored."""


@dataclass(frozen=True)
class Request:
    """What a fault is matched against."""

    route: Route
    family: str | None = None
    assets: frozenset[str] = frozenset()


@dataclass
class Faults:
    """The faults in force."""

    _active: list[tuple[Fault, int | None, float]] = field(default_factory=list)
    """With how often it may still strike, and until when (monotonic)."""
    _planned: list[tuple[float, float, Fault]] = field(default_factory=list)
    """From, to, what: of the scenario."""

    def add(self, *faults: Fault, seconds: float = float("inf")) -> None:
        """From now on, for so long."""
        until = time.monotonic() + seconds
        self._active += [(fault, fault.times, until) for fault in faults]

    def clear(self) -> None:
        """Everything is well again."""
        self._active.clear()
        self._planned.clear()

    def plan(self, scenario: "Scenario") -> None:
        """Faults at times, in seconds from now."""
        now = time.monotonic()
        self._planned += [
            (now + phase.at_seconds, now + phase.at_seconds + phase.for_seconds, phase.fault)
            for phase in scenario.phases
        ]

    @property
    def are_pending(self) -> bool:
        """Whether any fault may still strike."""
        return bool(self._active or self._planned)

    def strike(self, request: Request) -> Fault | None:
        """The fault that hits this request, used up by one."""
        now = time.monotonic()
        for planned in [planned for planned in self._planned if planned[0] <= now]:
            self._planned.remove(planned)
            self._active.append((planned[2], planned[2].times, planned[1]))
        self._active = [active for active in self._active if active[2] > now]
        for index, (fault, left, until) in enumerate(self._active):
            if not _hits(fault, request):
                continue
            if left is not None:
                self._active[index] = (fault, left - 1, until)
                if left <= 1:
                    del self._active[index]
            return fault
        return None


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault at a time, in seconds from the simulator's start."""

    fault: Fault
    at_seconds: float = 0.0
    for_seconds: float = 1e9


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of faults: `{"phases": [{"at_seconds": 10, "for_seconds": 60, "fault": {…}}]}`."""

    phases: list[Phase]


def read_scenario(path: Path) -> Scenario:
    """The scenario in a JSON file.

    Raises:
        ValueError: it cannot be read; the message says where.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Scenario)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _hits(fault: Fault, request: Request) -> bool:
    by_route = fault.route in {"any", request.route} or (
        fault.route == "write" and request.route in _WRITES
    )
    by_family = fault.family is None or fault.family == request.family
    return by_route and by_family and (fault.asset is None or fault.asset in request.assets)
