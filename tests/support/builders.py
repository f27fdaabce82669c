"""Records and changes, made in one line."""

import json

from msgspec import Raw

from service.contracts.outcome import SourceEvent
from service.core.limits import DecodeLimits
from service.core.model import (
    Asset,
    AssetChange,
    Change,
    Command,
    DeleteAsset,
    Origin,
    Partition,
    Rejection,
    SourceRecord,
    UpsertAsset,
)
from service.core.read.convert import convert
from service.core.read.decode import decode
from service.core.read.value_forms import taken_apart
from service.core.values import Value, ValueData, Values

Flat = dict[tuple[str, str | None, str | None], ValueData]
"""Values by attribute, locale and channel: easy to write down, and to replay."""

ASSET = Asset("packshots", "a")
LIMITS = DecodeLimits(record_bytes_max=1024 * 1024)
STRUCTURED = ("content-type", b"application/cloudevents+json; charset=UTF-8")
BINARY = (
    ("ce_id", b"e1"),
    ("ce_source", b"/dam"),
    ("ce_specversion", b"1.0"),
    ("ce_type", b"asset.updated"),
)


def record(
    value: object,
    key: bytes | None = None,
    headers: tuple[tuple[str, bytes | None], ...] = (),
) -> SourceRecord:
    """A record; what is no bytes (and not None) becomes JSON."""
    if value is not None and not isinstance(value, bytes):
        value = json.dumps(value).encode()
    return SourceRecord(Origin(Partition("events", 0), 0, 0), key, value, headers)


def plain(**members: object) -> SourceRecord:
    """Form 3: an upsert of packshots/a, with these members beside or instead."""
    base = {"action": "upsert", "asset_family": "packshots", "code": "a", "values": {}}
    return record({name: m for name, m in (base | members).items() if m is not ...})


def cloud(**members: object) -> SourceRecord:
    """Form 1: a structured CloudEvent, with these members beside or instead."""
    base = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/dam",
        "type": "asset.updated",
        "data": {"asset_family": "packshots", "code": "a", "values": {}},
    }
    event = {name: m for name, m in (base | members).items() if m is not ...}
    return record(event, headers=(STRUCTURED,))


def decoded(source: SourceRecord) -> AssetChange:
    """What it is understood as; it must be."""
    change = decode(source, LIMITS)
    assert isinstance(change, AssetChange), change
    return change


def rejected(source: SourceRecord) -> Rejection:
    """Why it is not; from decode or convert."""
    change = decode(source, LIMITS)
    found = change if isinstance(change, Rejection) else convert(change)
    assert isinstance(found, Rejection), found
    return found


def command(source: SourceRecord) -> Command:
    """What it asks for; it must."""
    found = convert(decoded(source))
    assert not isinstance(found, Rejection), found
    return found


def changes(
    *wanted: dict[str, ValueData] | None, asset: Asset = ASSET, first: int = 0
) -> list[Change]:
    """Changes of one asset in order: a dict of values upserts, None deletes."""
    return [change(values, asset, first + number) for number, values in enumerate(wanted)]


def change(values: dict[str, ValueData] | None, asset: Asset = ASSET, offset: int = 0) -> Change:
    """One admitted change; its size is the number of its values' bytes."""
    made: Command
    if values is None:
        made = DeleteAsset(asset)
    else:
        bare = {name: [Value(data)] for name, data in values.items()}
        made = UpsertAsset(asset, bare, len(json.dumps(values)))
    origin = Origin(Partition("events", 0), offset, 0)
    return Change(
        record=SourceRecord(origin, asset.path.encode(), b"{}"),
        size=10,
        command=made,
        event=SourceEvent(),
        extensions=(),
        admitted_at=0.0,
        received_utc_ms=0,
    )


def nested(flat: Flat) -> Values:
    """As the PIM writes them."""
    values: Values = {}
    for (attribute, locale, channel), data in flat.items():
        values.setdefault(attribute, []).append(Value(data, locale, channel))
    return values


def flat(values: Values | Raw) -> Flat:
    """The other way round."""
    return {
        (attribute, value.locale, value.channel): value.data
        for attribute, given in taken_apart(values).items()
        for value in given
    }
