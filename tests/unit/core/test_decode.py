"""Every sentence of the contract's input rules (§4): which records are read, and as what."""

import base64
import gzip
import json

import pytest
from msgspec import Raw

from service.contracts.outcome import ErrorCode
from service.core.limits import DecodeLimits
from service.core.model import Asset, Rejection, SourceRecord
from service.core.read.decode import decode
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

    assert decoded(record(data, headers=BINARY)).values == Raw(b'{"n": "1"}')


def test_a_tombstone_deletes() -> None:
    """Form 2: null value, no ce_* header, key FAMILY/CODE."""
    change = decoded(record(None, key=b"packshots/a"))

    assert (change.action, change.asset) == ("delete", PACKSHOT)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (None, "this record has none."),
        (b"", "this record has none."),
        (b"packshots", "it is 'packshots'."),
        (b"a/b/c", "it is 'a/b/c'."),
        (b"/a", "it is '/a'."),
        (b"a/", "it is 'a/'."),
        (b"\xff/a", "it is '\ufffd/a'."),
        (b"\x00\x00\x00\x00\x01a/b", r"it is '\x00\x00\x00\x00\x01a/b'."),
        (b"k" * 1000, f"it is '{'k' * 77}...'."),
    ],
)
def test_a_tombstone_needs_its_key(key: bytes | None, told: str) -> None:
    """Anything but FAMILY/CODE is invalid, and shown."""
    found = rejected(record(None, key=key))
    assert found.reason == "invalid_event"
    assert found.message.endswith(told)


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


@pytest.mark.parametrize(
    "media_type",
    ["", "json", "/json", "text/xml", "application/avro", "application/jsonp", "application/ json",
     "application/x+xml", "application/json+xml", "application/json, text/xml", "+json",
     "a/" * 400_000, "a/b+" * 200_000],
)  # fmt: skip
def test_data_that_are_not_json_are_invalid(media_type: str) -> None:
    """Structured or binary; however long the media type is."""
    data = {"asset_family": "packshots", "code": "a", "values": {}}
    assert rejected(cloud(datacontenttype=media_type)).reason == "invalid_event"
    if media_type:
        headers = (*BINARY, ("content-type", media_type.encode()))
        assert rejected(record(data, headers=headers)).reason == "invalid_event"


JSON_TYPES = [
    ..., None, "application/json", "application/json; charset=utf-8", "text/json",
    "Application/JSON", "application/vnd.acme.asset-change.v1+json",
    "application/vnd.acme+json;v=1",
]  # fmt: skip


@pytest.mark.parametrize("media_type", JSON_TYPES)
def test_data_in_base64_are_decoded(media_type: object) -> None:
    """The Java SDK writes JSON of a vendor's type so; the same event in binary was applied."""
    data = {"asset_family": "packshots", "code": "a", "values": {"n": 1}, "context": {"x": 1}}
    encoded = base64.b64encode(json.dumps(data).encode()).decode()
    change = decoded(cloud(data=..., data_base64=encoded, datacontenttype=media_type))
    assert (change.asset, change.values) == (PACKSHOT, Raw(b'{"n": 1}'))
    assert change == decoded(cloud(data=data, datacontenttype=media_type))
    assert decoded(cloud(data=None, data_base64=encoded)).asset == PACKSHOT


@pytest.mark.parametrize(
    ("encoded", "reason", "told"),
    [
        ("{}", "invalid_event", "`data_base64` is not valid Base64"),
        ("e30", "invalid_event", "`data_base64` is not valid Base64"),
        ("é", "invalid_event", "`data_base64` is not valid Base64"),
        (7, "invalid_event", "`data_base64` must be a string"),
        ("", "undecodable", "The content of `data_base64` is empty"),
        ("AAAA", "undecodable", "The content of `data_base64` has schema-registry framing"),
        ("//79", "undecodable", "The content of `data_base64` is UTF-16"),
        ("e3s=", "undecodable", "The content of `data_base64` is not valid JSON"),
        ("W10=", "invalid_event", "`data` is a list"),
    ],
)
def test_what_base64_holds_is_judged_as_a_value_is(encoded: object, reason: str, told: str) -> None:
    """With words for its place."""
    found = rejected(cloud(data=..., data_base64=encoded))
    assert found.reason == reason
    assert told in found.message


def test_data_twice_are_invalid() -> None:
    """Nobody knows which of them is meant; nor what a foreign type holds."""
    assert "both" in rejected(cloud(data_base64="e30=")).message
    other = rejected(cloud(data=..., data_base64="e30=", datacontenttype="application/avro"))
    assert other.reason == "invalid_event"


@pytest.mark.parametrize("name", ["id", "source", "specversion", "type", "subject", "time"])
@pytest.mark.parametrize("value", [None, {"asset_family": "f", "code": "c", "values": {}}])
def test_headers_in_json_quotes_are_told_as_such(name: str, value: object) -> None:
    """As Spring's mapper writes them; a quoted type was skipped, without anybody's alarm."""
    headers = dict((*BINARY, ("ce_subject", b"f/c"), ("ce_time", b"2026-11-23T10:14:59Z")))
    headers[f"ce_{name}"] = b'"%s"' % headers[f"ce_{name}"]
    found = rejected(record(value, headers=tuple(headers.items())))
    assert (found.status, found.reason) == ("rejected", "invalid_event")
    assert f"The header ce_{name} is in JSON quotes" in found.message


def test_other_attributes_in_headers_are_tolerated() -> None:
    """Whatever their bytes are."""
    headers = (*BINARY, ("ce_other", b"\xff"), ("ce_quoted", b'"x"'), ("ce_time", b"\xff"),
               ("ce_id2", None))  # fmt: skip
    decoded(record({"asset_family": "f", "code": "c", "values": {}}, headers=headers))
    decoded(cloud(other={"x": [1]}, id2=None))


WRONG_TYPES: list[object] = [7, 1.5, True, None, [], {}, ["x"]]


@pytest.mark.parametrize("wrong", WRONG_TYPES)
@pytest.mark.parametrize("name", ["id", "source", "time"])
def test_what_only_informs_is_left_out_where_it_has_a_wrong_type(name: str, wrong: object) -> None:
    """A good change is not refused for it."""
    given = {"id": "e1", "source": "/dam", "time": "2026-11-23T10:14:59Z"}
    change = decoded(plain(**(given | {name: wrong})))
    expected = {**given, name: None}
    assert {one: getattr(change.event, one) for one in expected} == expected


@pytest.mark.parametrize("wrong", WRONG_TYPES)
def test_the_time_of_a_cloud_event_only_informs_too(wrong: object) -> None:
    """Its id, source and type are what CloudEvents wants."""
    assert decoded(cloud(time=wrong)).event.time is None
    for name in ("id", "source", "type", "specversion"):
        assert rejected(cloud(**{name: wrong})).reason == "invalid_event"


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
    assert decoded(plain(values={})).values == Raw(b"{}")


def test_context_is_echoed_and_bounded() -> None:
    """Any JSON object up to 4 KiB."""
    context = decoded(plain(context={"dam_id": "7"})).event.context

    assert context is not None
    assert bytes(context) == b'{"dam_id": "7"}'
    assert rejected(plain(context={"x": "y" * 5000})).reason == "too_large"
    assert rejected(plain(context=[1])).reason == "invalid_event"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"", "The value is empty (0 bytes)"),
        (b" \n\t", "contains only white space (3 bytes)"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
        ("{}".encode("utf-16"), "is UTF-16 (by its byte order mark)"),
        ("{}".encode("utf-16-le"), "is UTF-16 (every other byte is 0x00)"),
        (' {"a": 1}'.encode("utf-16-be"), "is UTF-16 (every other byte is 0x00)"),
        (b"\xff{}", "is not UTF-8: byte 1 of 3 is 0xff"),
        (b'{"a": "\xe4"}', "is not UTF-8: byte 8 of 10 is 0xe4"),
        (b'{"a": "\xed\xa0\x80"}', "is not UTF-8: byte 8"),
        (gzip.compress(b"{}", mtime=0), "is compressed by its producer (gzip)"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "is compressed by its producer (zstd)"),
        (b"\xac\xed\x00\x05t\x00", "is not UTF-8: byte 1 of 6 is 0xac"),
        (b"\x00\x00\x00\x00\x01abc", "schema-registry framing"),
        (b"\x00\x00\x00\x00\x7b{}", "schema-registry framing"),
        (b'{"action": "upsert", "values": {', "is incomplete"),
        (b'{"action": "ups', "is incomplete"),
        (b'{"action":', "ends after 10 bytes, in the middle of its JSON"),
        (b'{"a": 1} {"a": 2}', "has data after the end of its JSON (line 1, column 10)"),
        (b"{}\n{}", "has data after the end of its JSON (line 2, column 1)"),
        (b"{}x", "has data after the end of its JSON"),
        (b'{"n": NaN}', "contains NaN"),
        (b'{"n": [Infinity]}', "contains Infinity"),
        (b'{"n": -Infinity}', "contains -Infinity"),
        (b'{"n": "\\ud83d"}', "contains \\ud83d, half of a surrogate pair"),
        (b'{"n": "\\udcf7\\ud83d"}', "contains \\udcf7, half of a surrogate pair"),
        (b'{"n": "\\ud83d\\udcf7 \\ud83d x"}', "contains \\ud83d, half of a surrogate pair"),
        (b'{"n": "\\\\ud83d \\uDC00"}', "contains \\uDC00, half of a surrogate pair"),
        (b'{"n": "\\ud83d\\\\"}', "contains \\ud83d, half of a surrogate pair"),
        (b"{broken", "is not valid JSON: expecting property name"),
        (b"{'a': 1}", "is not valid JSON: expecting property name"),
        (b'{"a": 01}', "is not valid JSON: expecting ',' delimiter (line 1, column 8)"),
        (b'{"a": "x\ny"}', "is not valid JSON: invalid control character"),
        (b"<asset/>", "is not valid JSON: expecting value (line 1, column 1)"),
        (b"[" * 100_000, "nests its lists and objects too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nests its lists and objects too deeply"),
    ],
)
def test_bad_bytes_are_told_in_words(value: bytes, told: str) -> None:
    """What is wrong, and where; in every form."""
    for headers in ((), (STRUCTURED,), BINARY):
        found = rejected(record(value, headers=headers))
        assert found.reason == "undecodable"
        assert told in found.message
        assert "truncated" not in found.message


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"[]", "The value is a list; it must be a JSON object."),
        (b" 1", "The value is a number; it must be a JSON object."),
        (b"null", "The value is null; it must be a JSON object."),
        (b'"{}"', "The value is a text; it must be a JSON object."),
    ],
)
def test_json_that_is_no_object_is_no_event(value: bytes, told: str) -> None:
    """As `invalid_event`: it is JSON."""
    found = rejected(record(value))
    assert (found.reason, found.message) == ("invalid_event", told)


def test_the_last_of_two_members_counts() -> None:
    """As JSON readers have it."""
    value = b'{"action":"delete","action":"upsert","asset_family":"f","code":5,"code":"c",%s}'
    assert decoded(record(value % b'"values":{"a":1},"values":{}')).values == Raw(b"{}")


@pytest.mark.parametrize(
    ("depth", "reason"), [(400, None), (501, "too_large"), (2000, "undecodable")]
)
def test_a_context_is_no_deeper_than_readers_follow(depth: int, reason: str | None) -> None:
    """An outcome repeats it; brackets in texts are no depth."""
    nested = b"[" * (depth - 1) + b"]" * (depth - 1)
    text = b'{"action":"delete","asset_family":"f","code":"c","context":{"x":%s}}'
    change = decode(record(text % nested), LIMITS)
    assert (change.reason if isinstance(change, Rejection) else None) == reason
    decoded(record(text % (b'"\\"%s"' % (b"[" * 3000))))


def test_registry_framing_is_named() -> None:
    """The first byte 0x00 is said as such."""
    assert "schema-registry" in rejected(record(b"\x00\x00\x00\x00\x01{}")).message


def test_a_large_record_is_too_large() -> None:
    """Key, value and headers count."""
    big = record({}, key=b"k" * 600, headers=(("h", b"v" * 600),))

    assert isinstance(found := decode(big, DecodeLimits(big.size - 1)), Rejection)
    assert found.reason == "too_large"
    assert isinstance(found := decode(big, DecodeLimits(big.size)), Rejection)
    assert found.reason != "too_large", "as large as the limit"


def test_a_cloud_event_without_its_header_is_told_so() -> None:
    """The message says which header is missing."""
    value = {"specversion": "1.0", "id": "1"}
    assert "content-type" in rejected(record(value)).message
    quoted = (("content-type", b'"application/cloudevents+json"'),)
    assert "it has '\"application" in rejected(record(value, headers=quoted)).message


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


DATA = {"asset_family": "packshots", "code": "a", "values": {}}


@pytest.mark.parametrize(
    ("source", "code", "path"),
    [
        (record(None, key=b"no slash"), "missing_asset", "key"),
        (cloud(data=...), "missing_member", "data"),
        (cloud(data_base64="e30="), "contradiction", "data_base64"),
        (cloud(data=..., data_base64="e"), "invalid_base64", "data_base64"),
        (record(DATA, headers=BINARY[1:]), "missing_member", BINARY[0][0]),
        (record(None, headers=BINARY), "missing_member", "value"),
        (
            record(DATA, headers=(*BINARY[:3], ("ce_type", b'"asset.updated"'))),
            "quoted_header",
            "ce_type",
        ),
        (record({"specversion": "1.0"}), "wrong_content_type", "content-type"),
        (plain(action="rename"), "missing_member", "action"),
        (plain(values=...), "missing_member", "values"),
        (plain(asset_family=...), "missing_member", "asset_family"),
        (plain(asset_family=..., code=...), "missing_asset", "asset_family"),
        (plain(code="a/b"), "invalid_name", "code"),
        (plain(code=5), "wrong_type", "code"),
        (plain(context=[1]), "wrong_type", "context"),
        (cloud(specversion="0.3"), "unsupported_version", "specversion"),
        (cloud(datacontenttype="text/xml"), "wrong_content_type", "datacontenttype"),
        (cloud(id=""), "missing_member", "id"),
        (cloud(data=[1]), "wrong_type", "data"),
        (record([1]), "wrong_type", "value"),
        (record(DATA, headers=(("ce_id", b"\xff"), *BINARY[1:])), "not_utf8", "ce_id"),
    ],
)
def test_an_invalid_event_names_what_is_wrong_for_programs(
    source: SourceRecord, code: ErrorCode, path: str
) -> None:
    """By a code and the member or header; people read the same message twice."""
    found = rejected(source)
    assert found.reason == "invalid_event"
    assert [(error.code, error.path, error.message) for error in found.errors] == [
        (code, path, found.message)
    ]
