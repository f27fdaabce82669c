"""Turn the items of a raw record into records: change events, outcomes, one dead letter.

Source: contract.md §5, §7.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import UNSET, Raw, UnsetType

from service.contracts.asset_change import NAME_CHARACTERS_MAX
from service.contracts.outcome import (
    DEAD_STATUSES,
    MappingUse,
    Outcome,
    OutcomeData,
    SourceEvent,
)
from service.core.model import Headers, SourceRecord
from service.core.records import ChangeRecord, LogRecord
from service.core.settle.report import (
    CONTENT_TYPE,
    PARTS_HEADER,
    PATH_CHARACTERS_MAX,
    TYPES,
    dead_letter,
    header_attribute,
    origin_of,
    part_id,
    record_of,
    short,
    timestamp,
    trace_context,
    with_link,
)
from service.mapping.results import Change, Ended
from service.translation.replay import Replay

CHANGE_TYPES = {
    "upsert": "asset-sync.asset.upserted.v1",
    "delete": "asset-sync.asset.deleted.v1",
}

_HEADERS: Headers = (("content-type", CONTENT_TYPE),)
"""Those of every change; a raw record without headers adds none."""

_encode = msgspec.json.Encoder().encode


class _ChangeData(msgspec.Struct, frozen=True, gc=False):
    asset_family: str
    code: str
    context: Raw | UnsetType = UNSET
    values: object = UNSET


class _ChangeEvent(msgspec.Struct, frozen=True, gc=False):
    """The change event, form 1 of contract.md §4."""

    specversion: str
    id: str
    source: str
    type: str
    datacontenttype: str
    data: _ChangeData
    subject: str
    time: str | UnsetType = UNSET
    correlationid: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class SourceNames:
    """By what the changes and outcomes of a source name it."""

    source: str
    """The name in the sources file."""
    file: str
    """The digest of the file, as outcomes show it."""
    changes_source: str
    """The CloudEvents source of its changes."""
    outcomes_source: str
    """The CloudEvents source of its outcomes."""


class SourceReporter:
    """Builds the records of one source."""

    def __init__(self, names: SourceNames) -> None:
        self._names = names

    def change(self, record: SourceRecord, change: Change, replay: Replay) -> ChangeRecord:
        """Return the event by which `run` is told of a change."""
        path = f"{change.family}/{change.code}"
        event = _ChangeEvent(
            specversion="1.0",
            id=part_id(record.origin, change.part, change.further),
            source=self._names.changes_source,
            type=CHANGE_TYPES[change.action],
            datacontenttype="application/json",
            data=_ChangeData(
                change.family,
                change.code,
                UNSET if change.context is None else change.context,
                UNSET if change.values is None else change.values,
            ),
            subject=path,
            time=change.event.time or UNSET,
            correlationid=header_attribute(change.event.id),
        )
        headers = _HEADERS
        if record.headers or replay.of is not None:
            further = (*trace_context(record.headers), *replay.headers(change.part))
            headers = (*_HEADERS, *further)
        at = record.origin
        return ChangeRecord(path.encode(), _encode(event), headers, at.partition, at.offset)

    def outcome(
        self, record: SourceRecord, ended: Ended, replay: Replay, received_utc_ms: int, utc_ms: int
    ) -> LogRecord:
        """Return the outcome of an item that becomes no change."""
        data = self._data(record, ended, replay, received_utc_ms, utc_ms)
        has_asset = data.asset_family is not None and data.code is not None
        outcome = Outcome(
            specversion="1.0",
            type=TYPES[ended.status],
            source=self._names.outcomes_source,
            id=part_id(record.origin, ended.part),
            time=timestamp(utc_ms),
            datacontenttype="application/json",
            data=data,
            subject=f"{data.asset_family}/{data.code}" if has_asset else UNSET,
            causationid=header_attribute(ended.event.id),
        )
        return record_of(outcome, record)

    def dead_letter(
        self, record: SourceRecord, dead: Sequence[Ended], replay: Replay, utc_ms: int
    ) -> LogRecord:
        """Return the raw record with the reason of the first item that died, and their numbers."""
        first = dead[0]
        assert first.status in DEAD_STATUSES, "only what died has a dead letter"
        parts = ",".join(str(ended.part) for ended in dead if ended.part is not None)
        added = ((PARTS_HEADER, parts.encode()),) if parts else ()
        data = self._data(record, first, replay, utc_ms, utc_ms)
        return dead_letter(record, data, part_id(record.origin, first.part), added)

    def _data(
        self, record: SourceRecord, ended: Ended, replay: Replay, received_utc_ms: int, utc_ms: int
    ) -> OutcomeData:
        event = ended.event
        return OutcomeData(
            status=ended.status,
            result=None,
            reason=ended.reason,
            message=with_link(ended.message, ended.reason),
            errors=[],
            action=None,
            asset_family=_name(ended.family),
            code=_name(ended.code),
            event=SourceEvent(event.id, event.source, event.type, event.subject, event.time),
            origin=origin_of(record, ended.part),
            pim=None,
            merged_into=None,
            superseded_by=None,
            replay_of=replay.of_item(ended.part),
            attempts=0,
            received_at=timestamp(received_utc_ms),
            completed_at=timestamp(utc_ms),
            mapping=MappingUse(
                self._names.source, short(ended.rule, PATH_CHARACTERS_MAX), self._names.file
            ),
        )


def _name(text: str | None) -> str | None:
    """Return a family or a code if it can stand in a key; null is shown for any other."""
    is_name = bool(text) and len(text or "") <= NAME_CHARACTERS_MAX and "/" not in (text or "")
    return text if is_name else None
