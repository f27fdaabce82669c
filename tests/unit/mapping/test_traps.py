"""What the events of real DAMs hold that a mapping stumbles over, with the profiles that ship."""

import json
from typing import Any

import pytest

from service.mapping.file.load import Loaded, load
from service.mapping.results import Change, Ended, MappedSource, Part
from tests.support.mapping import raw

FILE = """\
version: 1
sources:
  bridge:
    profile: s3-eventbridge
    topics: [dam.bridge]
    family: {path: detail.object.key, part: top}
    code: {path: detail.object.key, as: code}
    values: {label: {path: detail.object.key, part: stem}}
  rows:
    profile: debezium
    topics: [dam.rows]
    tombstones: delete
    family: {first_of: [family, $event.before.family, $event.after.family]}
    families: [packshots, ambient]
    code: {first_of: [code, $key.code]}
    values: {label: title, price: price}
  rows_by_family:
    profile: debezium
    topics: [dam.rows.by.family]
    family: {first_of: [family, $event.before.family]}
    code: {first_of: [code, $key.code]}
  assets:
    profile: aem
    topics: [dam.assets]
    family: {const: packshots}
    code: {path: data.assetId, as: code}
    values: {label: 'data.assetMetadata."dc:title"'}
  media:
    profile: bynder
    topics: [dam.media]
    family: {const: packshots}
    code: {path: Message.media_id, replace: {"-": _}}
"""


def _sources() -> dict[str, MappedSource]:
    found = load(FILE.encode(), "sources.yaml")
    assert isinstance(found, Loaded), found
    return dict(found.sources)


SOURCES = _sources()
ROW = {"code": "ab12", "family": "packshots", "title": "AB 12", "price": "12.50"}


def only(source: str, value: object, key: object = None) -> Part:
    (part,) = SOURCES[source].map(raw(value, key=key)).parts
    return part


@pytest.mark.parametrize(
    ("kind", "action"),
    [("Object Created", "upsert"), ("Object Deleted", "delete"), ("Object Expired", "delete")],
)
def test_eventbridge_has_another_shape_and_no_encoded_key(kind: str, action: str) -> None:
    event = {
        "id": "e1",
        "detail-type": kind,
        "source": "aws.s3",
        "time": "2026-11-23T07:00:00Z",
        "detail": {"bucket": {"name": "b"}, "object": {"key": "packshots/a+b%20c.jpg"}},
    }
    found = only("bridge", event)

    assert isinstance(found, Change)
    assert (found.action, found.family) == (action, "packshots")
    assert found.event.type == kind
    if action == "upsert":
        assert found.values == {"label": "a+b%20c"}


def row_event(op: str, **members: object) -> dict[str, Any]:
    return {"op": op, "before": None, "after": None, "ts_ms": 1795417200150, **members}


WRAPPED = [
    row_event("u", after=ROW),
    {"schema": {"type": "struct"}, "payload": row_event("c", after=ROW)},
    ROW,
    {**ROW, "__deleted": "false"},
]


@pytest.mark.parametrize("event", WRAPPED, ids=["bare", "with its schema", "flat", "flat, marked"])
def test_a_row_comes_in_several_wrappers(event: object) -> None:
    """What a row lacks is erased."""
    found = only("rows", event)
    assert isinstance(found, Change)
    assert (found.action, found.values) == ("upsert", {"label": "AB 12", "price": "12.50"})
    bare = only("rows", row_event("u", after={"code": "a", "family": "packshots"}))
    assert isinstance(bare, Change)
    assert bare.values == {"label": None, "price": None}


KEYS = [{"code": "ab12"}, {"schema": {}, "payload": {"code": "ab12"}}]


@pytest.mark.parametrize("key", KEYS, ids=["bare", "with its schema"])
@pytest.mark.parametrize(
    "event",
    [
        row_event("d", before={"id": 42}),
        {"__deleted": "true"},
        None,
    ],
    ids=["only the key of the row", "flat", "tombstone"],
)
def test_a_deleted_row_may_hold_only_its_key(event: object, key: object) -> None:
    """It leaves every family that it may be in."""
    parts = SOURCES["rows"].map(raw(event, key=key)).parts
    assert [
        (part.action, part.family, part.code, part.further)
        for part in parts
        if isinstance(part, Change)
    ] == [("delete", "packshots", "ab12", 0), ("delete", "ambient", "ab12", 1)]


def test_a_deleted_row_without_family_is_no_error() -> None:
    """Unless the mapping names the families."""
    found = only("rows_by_family", row_event("d", before={"id": 42}), key={"code": "ab12"})
    assert isinstance(found, Ended)
    assert (found.status, found.reason) == ("skipped", "no_family")


def test_a_delete_whose_row_is_not_there_is_unmappable() -> None:
    """`REPLICA IDENTITY NOTHING`: the mapping cannot know which row it was."""
    found = only("rows", row_event("d"), key={"code": "ab12"})
    assert isinstance(found, Ended)
    assert (found.status, found.reason) == ("rejected", "unmappable")


def test_aem_s_keys_hold_colons_and_its_updates_the_values_before() -> None:
    """`event:updated` is never looked at."""
    data = {
        "assetId": "urn:aaid:aem:1",
        "assetMetadata": {"dc:title": "new"},
        "event:updated": {"assetMetadata": {"dc:title": "old"}},
    }
    kind = "aem.assets.asset.metadata_updated"
    found = only("assets", {"type": kind, "id": "1", "data": data})
    assert isinstance(found, Change)
    assert found.values == {"label": "new"}


def test_bynder_s_ids_are_no_uuids() -> None:
    """Their groups have 8, 4, 4 and 16 digits; they are taken as they come."""
    event = {
        "Subject": "asset_bank.media.deleted",
        "Message": json.dumps({"media_id": "9542A933-2DF5-4999-9AB52701F33613C0"}),
    }
    found = only("media", event)
    assert isinstance(found, Change)
    assert found.code == "9542A933_2DF5_4999_9AB52701F33613C0"
