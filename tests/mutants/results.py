"""What was found so far: a run that was interrupted goes on where it was."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutants.patch import Mutant


@dataclass(frozen=True)
class Result:
    """The test that found a mutant, or None; `has_broker`: the tests with a broker ran too."""

    found_by: str | None
    has_broker: bool


class Results:
    """Results in a file. Each belongs to one state of code and tests; an older one is a hint."""

    def __init__(self, path: Path, state: str, hints: Mapping[str, tuple[str, bool]]) -> None:
        self._path = path
        self._state = state
        self._hints = hints
        """The test that found a mutant in an earlier run, and whether that was on a broker."""
        self._entries: dict[str, dict[str, object]] = {}
        if path.exists():
            self._entries = json.loads(path.read_text())

    def add(self, mutant: Mutant, result: Result) -> None:
        """Remember, at once on disk."""
        self._entries[mutant.name] = {"state": self._state_of(mutant), **asdict(result)}
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(json.dumps(self._entries, indent=1, sort_keys=True))

    def get(self, mutant: Mutant) -> Result | None:
        """The result of this state of code and tests."""
        entry = self._entries.get(mutant.name)
        if entry is None or entry["state"] != self._state_of(mutant):
            return None
        return _result(entry)

    def is_known(self, mutant: Mutant) -> bool:
        """Whether the tests without a broker need not run again."""
        return self.get(mutant) is not None

    def wants_broker(self, mutant: Mutant) -> bool:
        """Whether it survived so far and the tests with a broker did not run."""
        result = self.get(mutant)
        return result is not None and result.found_by is None and not result.has_broker

    def likely(self, mutant: Mutant, *, has_broker: bool) -> str | None:
        """The test that found it in an earlier state."""
        entry = self._entries.get(mutant.name)
        if entry is None:
            test, was_on_broker = self._hints.get(mutant.name, (None, False))
            return test if was_on_broker is has_broker else None
        result = _result(entry)
        return result.found_by if result.has_broker is has_broker else None

    def _state_of(self, mutant: Mutant) -> str:
        return hashlib.sha256(f"{self._state} {mutant.text}".encode()).hexdigest()[:16]


def _result(entry: dict[str, object]) -> Result:
    found_by = entry["found_by"]
    return Result(None if found_by is None else str(found_by), bool(entry["has_broker"]))
