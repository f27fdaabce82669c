"""The index in a process that only searches it, as the process that fills it reports it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from service.adapters.outcome_index.searchable import Searchable, utc_ms
from service.adapters.outcome_index.segment import Segment, new_segment
from service.console.reports import SegmentReport


class IndexView(Searchable):
    """Shows the segments of the last report."""

    def __init__(self, folder: Path, days: int, damaged: Callable[[int], None]) -> None:
        """`damaged` is called with the newest segment's number if a search meets a damaged file."""
        super().__init__(days, utc_ms)
        self._folder = folder
        self._damaged = damaged

    def show(self, segments: Sequence[SegmentReport]) -> None:
        """Show these segments from now on."""
        self._segments = tuple(map(self._segment, segments))

    def report_damage(self) -> None:
        if self._segments:
            self._damaged(self._segments[-1].number)

    def _segment(self, report: SegmentReport) -> Segment:
        segment = new_segment(self._folder, report.number)
        segment.outcomes = report.outcomes
        segment.oldest_ms, segment.newest_ms = report.oldest_ms, report.newest_ms
        return segment
