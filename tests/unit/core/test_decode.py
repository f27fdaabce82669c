"""Every sentence of the contract's input rules (§4): which records are read, and as what."""

import pytest

from service.core.decode import DecodeLimits, decode
from service.core.model import Asset, Rejection
from tests.support.builders import (
    BINARY,
    LIMITS,
    STRUCTURED,
    cloud,
    decoded,
    plain,
    record,
    rejected,
)

PACKSHOT = Asset("packshots", "a")


def test_a_structured_cloud_event_is_read() -> None:
    """Form 1, structured: its attributes come along."""
    change = decoded(cloud(subject="x", time="2026-11-23T10:14:59Z", foreign_attribute=[1]))

    assert change.asset == PACKSHOT
    assert (change.event.id, change.event.source, change.event.subject) == ("e1", "/dam", "x")


def test_a_binary_cloud_event_is_read() -> None:
    """Form 1, binary: attributes are headers, the value is the data."""
    data = {"asset_family": "packshots", "code": "a", "values": {"n": "1"}}

    assert decoded(record(data, headers=BINARY)).values == b'{"n": "1"}'


def test_a_tombstone_deletes() -> None:
    """Form 2: null value, no ce_* header, key FAMILY/CODE."""
    change = decoded(record(None, key=b"packshots/a"))

    assert (change.action, change.asset) == ("delete", PACKSHOT)


@pytest.mark.parametrize("key", [None, b"", b"packshots", b"a/b/c", b"/a", b"a/", b"\xff/a"])
def test_a_tombstone_needs_its_key(key: bytes | None) -> None:
    """Anything but FAMILY/CODE is invalid."""
    assert rejected(record(None, key=key)).reason == "invalid_event"


@pytest.mark.parametrize("action", ["upsert", "delete"])
def test_plain_json_is_read(action: str) -> None:
    """Form 3."""
    assert decoded(plain(action=action, id="e9")).action == action


@pytest.mark.parametrize("action", [..., None, "Upsert", 1])
def test_plain_json_needs_an_action(action: object) -> None:
    """Without one it is no event."""
    assert rejected(plain(action=action)).reason == "invalid_event"


@pytest.mark.parametrize(
    ("event_type", "action"),
    [
        ("asset.created", "upsert"),
        ("asset.updated", "upsert"),
        ("asset.upserted", "upsert"),
        ("asset.deleted", "delete"),
        ("com.acme.dam.asset.deleted.v12", "delete"),
        ("com.acme.asset.updated.v1", "upsert"),
    ],
)
def test_a_type_ends_in_what_happened(event_type: str, action: str) -> None:
    """At a dot and before an optional .vN."""
    assert decoded(cloud(type=event_type)).action == action


@pytest.mark.parametrize(
    "event_type",
    [
        "asset.Updated",
        "myasset.updated",
        "asset.updated.v",
        "asset.updated.vx",
        "asset.updated.v1.v2",
        "asset.archived",
        "com.akeneo.pim.v1.asset.updated",
    ],
)
def test_any_other_type_is_skipped(event_type: str) -> None:
    """Case-sensitive; everything of com.akeneo is our own echo."""
    rejection = rejected(cloud(type=event_type))

    assert (rejection.status, rejection.reason) == ("skipped", "unknown_type")


def test_the_type_prefix_narrows() -> None:
    """EVENTS__TYPE_PREFIX: other types are not ours."""
    found = decode(cloud(type="asset.updated"), DecodeLimits(1 << 20, "com.acme."))

    assert isinstance(found, Rejection)
    assert found.status == "skipped"


def test_a_null_value_with_a_delete_type_is_a_delete() -> None:
    """With a complete set of ce_* headers; the asset is named by subject or key."""
    headers = (*BINARY[:3], ("ce_type", b"asset.deleted"), ("ce_subject", b"packshots/a"))

    assert decoded(record(None, headers=headers)).asset == PACKSHOT


def test_a_null_value_with_an_upsert_type_is_invalid() -> None:
    """There is nothing to set."""
    found = rejected(record(None, key=b"packshots/a", headers=BINARY))

    assert found.reason == "invalid_event"


@pytest.mark.parametrize("missing", range(4))
def test_incomplete_headers_are_invalid(missing: int) -> None:
    """A null value with some ce_* headers is no tombstone either."""
    headers = BINARY[:missing] + BINARY[missing + 1 :]

    values: list[object] = [None, {"values": {}}]
    for value in values:
        found = rejected(record(value, key=b"packshots/a", headers=headers))
        assert found.reason == "invalid_event"


def test_binary_data_is_invalid() -> None:
    """data_base64 is not read, nor what is not JSON."""
    assert rejected(cloud(data_base64="AAAA")).reason == "invalid_event"
    assert rejected(cloud(datacontenttype="text/xml")).reason == "invalid_event"
    headers = (*BINARY, ("content-type", b"application/avro"))
    assert rejected(record({}, headers=headers)).reason == "invalid_event"


def test_the_asset_is_named_by_data_then_subject_then_key() -> None:
    """The first that is there wins; a differing other is no error."""
    named = cloud(subject="manuals/s")
    unnamed = cloud(subject="manuals/s", data={"values": {}})
    keyed = record({"action": "delete"}, key=b"videos/k")

    assert decoded(named).asset == PACKSHOT
    assert decoded(unnamed).asset == Asset("manuals", "s")
    assert decoded(keyed).asset == Asset("videos", "k")


@pytest.mark.parametrize("member", ["asset_family", "code"])
@pytest.mark.parametrize("wrong", [..., None, 1, "", "a/b", " a", "a ", "a\u0000", "x" * 256])
def test_a_half_named_asset_is_invalid(member: str, wrong: object) -> None:
    """Without falling through to subject or key."""
    source = plain(**{member: wrong})
    keyed = record(source.value, key=b"packshots/k")

    assert rejected(keyed).reason == "invalid_event"


def test_names_are_taken_exactly_as_given() -> None:
    """255 characters of anything else are the PIM's to judge."""
    code = "Ä-b c." + "x" * 249

    assert decoded(plain(code=code)).asset.code == code


def test_an_upsert_needs_values() -> None:
    """{} is enough."""
    assert rejected(plain(values=...)).reason == "invalid_event"
    assert rejected(cloud(data=None)).reason == "invalid_event"
    assert decoded(plain(values={})).values == b"{}"


def test_context_is_echoed_and_bounded() -> None:
    """Any JSON object up to 4 KiB."""
    context = decoded(plain(context={"dam_id": "7"})).event.context

    assert context is not None
    assert bytes(context) == b'{"dam_id": "7"}'
    assert rejected(plain(context={"x": "y" * 5000})).reason == "too_large"
    assert rejected(plain(context=[1])).reason == "invalid_event"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "undecodable"),
        (b"{broken", "undecodable"),
        (b"\xff\xfe", "undecodable"),
        (b'{"a": "\xff"}', "undecodable"),
        (b"\x00\x00\x00\x00\x01abc", "undecodable"),
        (b"[" * 100_000, "undecodable"),
        (b"[]", "invalid_event"),
        (b"1", "invalid_event"),
        (b"null", "invalid_event"),
    ],
)
def test_bad_bytes_are_said(value: bytes, reason: str) -> None:
    """Never a crash."""
    assert rejected(record(value)).reason == reason


def test_registry_framing_is_named() -> None:
    """The first byte 0x00 is said as such."""
    assert "schema-registry" in rejected(record(b"\x00\x00\x00\x00\x01{}")).message


def test_a_large_record_is_too_large() -> None:
    """Key, value and headers count."""
    big = record({}, key=b"k" * 600, headers=(("h", b"v" * 600),))

    assert isinstance(found := decode(big, DecodeLimits(1000)), Rejection)
    assert found.reason == "too_large"


def test_a_cloud_event_without_its_header_is_told_so() -> None:
    """The message says which header is missing."""
    assert "content-type" in rejected(record({"specversion": "1.0", "id": "1"})).message


def test_trace_context_is_carried() -> None:
    """correlationid, traceparent and tracestate; the event's own win over the headers."""
    source = cloud(correlationid="c", traceparent="event")
    found = decode(
        record(source.value, headers=(STRUCTURED, ("traceparent", b"h"), ("tracestate", b"s"))),
        LIMITS,
    )

    assert dict(found.extensions) == {
        "correlationid": "c",
        "traceparent": "event",
        "tracestate": "s",
    }
