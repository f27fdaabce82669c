"""Read dead letters: which of them may be replayed, and which records a replay writes.

Source: contract.md §5.

Rule 1: a replay writes the original record byte for byte; only the headers of asset-sync change.
Rule 2: a dead letter with a marker was replayed, and is not replayed again.
Rule 3: a dead letter without a part of the original record is listed but never replayed, since
the original record cannot be restored.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from service.contracts.text import natural_number
from service.core.limits import DecodeLimits
from service.core.model import Asset, Headers, Origin, Partition, SourceRecord
from service.core.read.decode import decode
from service.core.records import LogRecord
from service.core.settle.report import (
    DEAD_LETTER_PREFIX,
    PARTS_HEADER,
    REPLAY_COUNT_HEADER,
    REPLAY_HEADER,
    REPLAY_PARTS_HEADER,
    part_id,
    read_parts,
)

FIRST_HEADER = "dlq.original.topic"
REPLAYED_HEADER = "dlq.replayed"
VALUE_OMITTED_HEADER = "dlq.value.omitted"
HEADERS_OMITTED_HEADER = "dlq.headers.omitted"
KEY_OMITTED_HEADER = "dlq.key.omitted"
MESSAGE_OMITTED_HEADER = "dlq.message.omitted"
MESSAGE_HEADER = "dlq.message"
OUTCOME_ID_HEADER = "dlq.outcome.id"
REPLAYS_MAX = 3
"""From this `replay.count` on, a replay needs `--force`."""

RecordId = tuple[int, int]
"""Partition and offset on the dead-letter topic."""

Lack = Literal["without value", "without headers", "without key"]
"""A part of the original record that its dead letter does not have."""

LeftOut = (
    Lack
    | Literal[
        "replayed",
        "overtaken",
        "of an unknown asset",
        "replayed 3 times",
        "foreign topic",
        "unreadable",
    ]
)

_LACKS: dict[str, Lack] = {
    VALUE_OMITTED_HEADER: "without value",
    HEADERS_OMITTED_HEADER: "without headers",
    KEY_OMITTED_HEADER: "without key",
}

_REPLAY_HEADERS = frozenset({REPLAY_HEADER, REPLAY_COUNT_HEADER, REPLAY_PARTS_HEADER})
_NO_LIMITS = DecodeLimits(1 << 30)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter without its value. `origin` is None if its headers cannot be read."""

    record_id: RecordId
    origin: Origin | None
    reason: str
    message: str
    attempts: int
    asset: Asset | None
    dead_lettered_utc_ms: int
    replay_count: int
    lacks: Lack | None
    """The first part of the original record that is missing; None if it is complete."""
    parts: tuple[int, ...] = ()
    """The items of a raw record that died; empty if the record died as a whole."""

    @property
    def outcome_id(self) -> str:
        """The id of the outcome that it belongs to; empty if that cannot be read.

        If several items of a raw record died, it belongs to the outcome of the first.
        """
        return self.outcome_ids[0]

    @property
    def outcome_ids(self) -> tuple[str, ...]:
        """The ids of the outcomes of all items that died."""
        if self.origin is None:
            return ("",)
        return tuple(part_id(self.origin, part) for part in self.parts or (None,))


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects dead letters; None matches all."""

    reason: str | None = None
    family: str | None = None
    asset: str | None = None
    since_utc_ms: int | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Return whether the dead letter matches every criterion."""
        asset = letter.asset
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.family is None or (asset is not None and asset.family == self.family))
            and (self.asset is None or (asset is not None and asset.path == self.asset))
            and (self.since_utc_ms is None or letter.dead_lettered_utc_ms >= self.since_utc_ms)
        )


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The options of `dead-letters replay` that decide which dead letters it leaves out."""

    topics: frozenset[str]
    """The topics that may be written to: of events, and the raw ones of the sources file."""
    include_overtaken: bool = False
    force: bool = False
    raw_topics: frozenset[str] = frozenset()
    """Of `topics`, those of sources."""
    read_back_topics: frozenset[str] = frozenset()
    """Of `raw_topics`, those of sources that read each asset back, so that no event is stale."""


@dataclass(slots=True)
class Applied:
    """Collects the latest applied change of each asset of the dead letters.

    Codes that differ only in case count as one asset, since a PIM may treat them as one.
    """

    assets: frozenset[Asset]
    """The assets with their codes' case folded."""
    _offsets: dict[tuple[Asset, Partition], int] = field(default_factory=dict)
    _times: dict[Asset, tuple[int, Partition]] = field(default_factory=dict)

    @classmethod
    def of(cls, letters: Iterable[DeadLetter]) -> "Applied":
        """Begin with the assets of these dead letters."""
        assets = (letter.asset for letter in letters)
        return cls(frozenset(asset.folded for asset in assets if asset is not None))

    def add(self, asset: Asset, partition: Partition, offset: int, utc_ms: int) -> None:
        """Note an applied outcome and when it was written."""
        asset = asset.folded
        if asset not in self.assets:
            return
        key = (asset, partition)
        self._offsets[key] = max(offset, self._offsets.get(key, -1))
        self._times[asset] = max((utc_ms, partition), self._times.get(asset, (-1, partition)))

    def overtakes(self, letter: DeadLetter) -> bool:
        """Return whether a later change of the asset was applied.

        Within a partition the offset decides; across partitions only the time of the outcome can.
        """
        origin = letter.origin
        if letter.asset is None or origin is None:
            return False
        asset = letter.asset.folded
        if self._offsets.get((asset, origin.partition), -1) > origin.offset:
            return True
        utc_ms, partition = self._times.get(asset, (-1, origin.partition))
        return partition != origin.partition and utc_ms > letter.dead_lettered_utc_ms


def read_marker(headers: Headers) -> RecordId | None:
    """Return the dead letter that a marker is for, or None if the record is not a marker."""
    found = [content for name, content in headers if name == REPLAYED_HEADER]
    if len(found) != 1 or _added_headers(headers):
        return None
    partition, _, offset = (found[0] or b"").decode("utf-8", "replace").partition("/")
    number, above = natural_number(partition), natural_number(offset)
    return None if number is None or above is None else (number, above)


def read_dead_letter(
    record_id: RecordId, key: bytes | None, value: bytes | None, headers: Headers, utc_ms: int
) -> DeadLetter:
    """Read a record of the dead-letter topic; this never raises, whatever its bytes are."""
    added = _added_headers(headers)
    origin = _origin(added)
    original = tuple((name, content) for name, content in headers if not _is_dlq(name))
    stand_in = Origin(Partition("", 0), 0, 0)
    own_key = None if KEY_OMITTED_HEADER in added else key
    asset = decode(SourceRecord(stand_in, own_key, value, original), _NO_LIMITS).asset
    return DeadLetter(
        record_id=record_id,
        origin=origin,
        reason=added.get("dlq.reason", ""),
        message=added.get("dlq.message", ""),
        attempts=natural_number(added.get("dlq.attempts")) or 0,
        asset=asset,
        dead_lettered_utc_ms=utc_ms,
        replay_count=_replay_count(headers),
        lacks=next((lack for name, lack in _LACKS.items() if name in added), None),
        parts=tuple(sorted(read_parts(added.get(PARTS_HEADER)) or ())),
    )


def left_out(
    letter: DeadLetter, options: ReplayOptions, *, is_replayed: bool, is_overtaken: bool
) -> LeftOut | None:
    """Return why a replay leaves the dead letter out, or None if it is replayed."""
    if letter.origin is None:
        return "unreadable"
    if is_replayed:
        return "replayed"
    if letter.lacks is not None:
        return letter.lacks
    if letter.origin.partition.topic not in options.topics:
        return "foreign topic"
    if is_overtaken and not options.include_overtaken:
        return "overtaken"
    if letter.replay_count >= REPLAYS_MAX and not options.force:
        return "replayed 3 times"
    return None


def replayed(
    letter: DeadLetter, key: bytes | None, value: bytes | None, headers: Headers
) -> LogRecord:
    """Return the original record, with the headers of a replay, for its original partition."""
    kept = tuple(
        (name, content)
        for name, content in headers
        if not _is_dlq(name) and name not in _REPLAY_HEADERS
    )
    added: Headers = (
        (REPLAY_HEADER, letter.outcome_id.encode()),
        (REPLAY_COUNT_HEADER, b"%d" % (letter.replay_count + 1)),
    )
    if letter.parts:
        parts = ",".join(map(str, letter.parts))
        added = (*added, (REPLAY_PARTS_HEADER, parts.encode()))
    return LogRecord(key, value, (*kept, *added))


def marker(letter: DeadLetter, key: bytes | None) -> LogRecord:
    """Return the record that marks the dead letter as replayed, for the same partition."""
    partition, offset = letter.record_id
    return LogRecord(key, None, ((REPLAYED_HEADER, b"%d/%d" % (partition, offset)),))


def truncate_further(letter: LogRecord) -> LogRecord | None:
    """Return the dead letter with one more part left out, or None if no part is left.

    The parts are, in order: the value, the headers of the original record, its key, the message.
    """
    names = [name for name, _ in letter.headers]
    first = max((at for at, name in enumerate(names) if name == FIRST_HEADER), default=0)
    added = letter.headers[first:]
    if letter.value is not None:
        return LogRecord(letter.key, None, (*letter.headers, (VALUE_OMITTED_HEADER, b"true")))
    if first:
        return LogRecord(letter.key, None, (*added, (HEADERS_OMITTED_HEADER, b"%d" % first)))
    if letter.key is not None and KEY_OMITTED_HEADER not in names:
        outcome_id = dict(added).get(OUTCOME_ID_HEADER)
        return LogRecord(outcome_id, None, (*added, (KEY_OMITTED_HEADER, b"true")))
    if MESSAGE_OMITTED_HEADER not in names:
        kept = tuple(header for header in added if header[0] != MESSAGE_HEADER)
        return LogRecord(letter.key, None, (*kept, (MESSAGE_OMITTED_HEADER, b"true")))
    return None


def _is_dlq(name: str) -> bool:
    return name.startswith(DEAD_LETTER_PREFIX)


def _added_headers(headers: Headers) -> dict[str, str]:
    """Return the headers that asset-sync added: those from the last `dlq.original.topic` on.

    A replayed record may bring such headers from an earlier dead letter.
    """
    added: dict[str, str] = {}
    for name, content in headers:
        if name == FIRST_HEADER:
            added.clear()
        if name == FIRST_HEADER or added:
            added[name] = (content or b"").decode("utf-8", "replace")
    return added


def _origin(added: dict[str, str]) -> Origin | None:
    topic = added.get("dlq.original.topic")
    partition = natural_number(added.get("dlq.original.partition"))
    offset = natural_number(added.get("dlq.original.offset"))
    if not topic or partition is None or offset is None:
        return None
    return Origin(Partition(topic, partition), offset, 0)


def _replay_count(headers: Headers) -> int:
    found = [content or b"" for name, content in headers if name == REPLAY_COUNT_HEADER]
    counts = [natural_number(content.decode("utf-8", "replace")) for content in found]
    return next((count for count in reversed(counts) if count is not None), 0)
