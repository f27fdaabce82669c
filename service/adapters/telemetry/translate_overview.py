"""The status page of `translate`: its sources, their hosts, what waits, and what ended badly."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from service.adapters.telemetry.health import partition_state, plain
from service.adapters.telemetry.overview import Cell, Overview, Table, Tile, clock
from service.adapters.telemetry.source_report import why_waiting
from service.adapters.telemetry.translate_meters import SourceGauges
from service.contracts.outcome import DEAD_STATUSES
from service.core.facts import ChangeCompleted, Fact
from service.translation.facts import RecordsTranslated
from service.translation.status import SourceStatus

ENDS_KEPT = 50


class TranslateTotals:
    """Counts what was translated, and keeps the items that ended badly last, of all sources."""

    def __init__(self) -> None:
        self.events = 0
        self.changes = 0
        self.bad_ends: deque[tuple[Cell, ...]] = deque(maxlen=ENDS_KEPT)

    def of(self, source: str) -> "SourceTotals":
        """Return an observer for the facts of one source."""
        return SourceTotals(self, source)


class SourceTotals:
    """An `Observer` that adds the facts of one source to the totals."""

    def __init__(self, totals: TranslateTotals, source: str) -> None:
        self._totals = totals
        self._source = source

    def note(self, fact: Fact) -> None:
        if isinstance(fact, RecordsTranslated):
            self._totals.events += fact.records
            self._totals.changes += fact.changes
        elif isinstance(fact, ChangeCompleted) and fact.status in DEAD_STATUSES:
            asset = fact.asset or fact.outcome
            row = clock(time.time()), self._source, asset, fact.status, fact.reason
            self._totals.bad_ends.appendleft((*row, plain(fact.message)))


class TranslateAbout(NamedTuple):
    """What the page says of the replica, and the limits that its sources share."""

    version: str
    group: str
    pending_items_max: int
    pending_bytes_max: int


class TranslateOverview:
    """Reads the state of all sources whenever the page asks."""

    def __init__(
        self,
        about: TranslateAbout,
        sources: Mapping[str, SourceGauges],
        totals: TranslateTotals,
    ) -> None:
        self._about = about
        self._sources = sources
        self._totals = totals
        self._began_at = time.monotonic()

    def read(self) -> Overview:
        """Return the page as it is now."""
        statuses = {name: gauges.status() for name, gauges in self._sources.items()}
        waiting = sum(status.waits_for is not None for status in statuses.values())
        return Overview(
            program="translate",
            about=f"{self._about.version} · groups {self._about.group}.translate.*",
            uptime_seconds=round(time.monotonic() - self._began_at, 3),
            trouble=f"{waiting} of {len(statuses)} sources wait" if waiting else "",
            tiles=self._tiles(list(statuses.values())),
            tables=(
                Table(
                    "sources",
                    "Sources",
                    (
                        "source",
                        "state",
                        "to read",
                        "pending events",
                        "pending items",
                        "deletes held back",
                        "dead letters held back",
                    ),
                    [self._source(status) for status in statuses.values()],
                ),
                Table("hosts", "Hosts", ("host", "source", "state"), list(self._hosts(statuses))),
                Table(
                    "partitions",
                    "Partitions",
                    ("partition", "source", "state", "to read", "pending", "committed offset"),
                    [row for status in statuses.values() for row in self._partitions(status)],
                ),
                Table(
                    "bad_ends",
                    "Recent rejected and failed items",
                    ("time", "source", "asset or outcome", "status", "reason", "message"),
                    list(self._totals.bad_ends),
                ),
            ),
        )

    def _tiles(self, statuses: list[SourceStatus]) -> tuple[Tile, ...]:
        items = sum(status.pending_changes for status in statuses)
        mib = sum(status.pending_bytes for status in statuses) / 1024**2
        failing = {host for status in statuses for host in status.failing_hosts}
        return (
            Tile("events translated", self._totals.events, is_rate=True),
            Tile("events in total", self._totals.events),
            Tile("changes in total", self._totals.changes),
            Tile("pending items", items, self._about.pending_items_max),
            Tile("pending MiB", round(mib, 1), self._about.pending_bytes_max / 1024**2),
            Tile("failing hosts", len(failing)),
            Tile("deletes held back", sum(status.held_changes for status in statuses)),
            Tile("dead letters held back", sum(status.withheld_changes for status in statuses)),
        )

    def _source(self, status: SourceStatus) -> tuple[Cell, ...]:
        to_read = sum(self._sources[status.source].lags().values())
        is_busy = bool(to_read or status.pending_records)
        return (
            status.source,
            why_waiting(status) or ("working" if is_busy else "idle"),
            to_read,
            status.pending_records,
            status.pending_changes,
            status.held_changes,
            status.withheld_changes,
        )

    def _hosts(self, statuses: Mapping[str, SourceStatus]) -> Iterator[tuple[Cell, ...]]:
        for source, status in statuses.items():
            for host in self._sources[source].hosts:
                trouble = status.failing_hosts.get(host)
                yield (
                    host,
                    source,
                    "no trouble" if trouble is None else f"failing: {plain(trouble)}",
                )

    def _partitions(self, status: SourceStatus) -> Iterator[tuple[Cell, ...]]:
        source = self._sources[status.source]
        lags, unread = source.lags(), source.unread_seconds()
        for one in status.partitions:
            topic, number = one.partition
            lag = lags.get(one.partition, 0)
            state = partition_state(status, one, lag, unread.get(one.partition, 0.0))
            yield f"{topic}/{number}", status.source, state, lag, one.pending, one.watermark
