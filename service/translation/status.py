"""A report of the open work of one source, for people and metrics. It decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from service.core.status import WorkStatus

SourceWaitsFor = Literal["assignment", "drain", "release", "deletes", "commit", "host"]
"""Why nothing of a source is written, on purpose, strongest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus(WorkStatus):
    """The open work of one source. Its changes are the items of raw records."""

    source: str
    waits_for: SourceWaitsFor | None
    pending_records: int
    failing_hosts: Mapping[str, str] = field(default_factory=dict)
    """Hosts whose every read fails, with a sentence on why."""
