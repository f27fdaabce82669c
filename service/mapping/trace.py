"""How each value of one event was made, for `asset-sync mapping explain`.

A source that is compiled with a trace notes every source, step and result in it. One that is
compiled without has none of this in its functions.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class TraceRow:
    """One value: the line that makes it, what its source gave, each step, and what is sent."""

    label: str
    """The attribute, `family`, `code`, or one of them with `.locale` or `.channel`."""
    where: str
    source: str
    found: object
    steps: list[tuple[str, object]] = field(default_factory=list)
    sent: object = None
    is_sent: bool = False
    """False where the value ended the item: then `sent` says nothing."""


class Trace:
    """Collects the rows of the events that are mapped, in order."""

    def __init__(self) -> None:
        self.rows: list[TraceRow] = []

    def clear(self) -> None:
        self.rows.clear()

    def begin(self, label: str, where: str, source: str, found: object) -> None:
        self.rows.append(TraceRow(label, where, source, found))

    def step(self, name: str, result: object) -> None:
        self.rows[-1].steps.append((name, result))

    def end(self, sent: object) -> None:
        self.rows[-1].sent = sent
        self.rows[-1].is_sent = True
