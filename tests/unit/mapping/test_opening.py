"""From bytes to an event: JSON, CloudEvents, wrappers, JSON within text."""

import base64
import json
from typing import Any

import pytest

from tests.support.mapping import NAMED, change, ended, faults, mapped, raw

CLOUD: dict[str, Any] = {
    "value": "cloudevents",
    "values": {"type": "type", "title": "data.title", "odd": '"x-Odd"'},
}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
BINARY = {"ce_type": "t", "ce_id": "1", "ce_x-Odd": "o", "content-type": "application/json"}


@pytest.mark.parametrize(
    ("value", "reason", "message"),
    [
        (b"", "undecodable", "The value is empty (0 bytes); it must be a JSON object"),
        (
            b"{",
            "undecodable",
            "The value is incomplete: it ends after 1 bytes, in the middle of",
        ),
        (b"\x00\x00", "undecodable", "The value has schema-registry framing"),
        (b'{"a": "\xff"}', "undecodable", "The value is not UTF-8: byte 8 of 10 is 0xff"),
        (b'{"a": "\\ud800"}', "undecodable", "The value contains \\ud800, half of a surrogate"),
        (b'{"a": NaN}', "undecodable", "The value contains NaN, which JSON does not have"),
        (b"[" * 100_000, "undecodable", "The value "),
        (b'{"a": ' + b"9" * 5000 + b"}", "undecodable", "The value contains a number with more"),
        (b"[]", "unmappable", "The value is a list; it must be a JSON object."),
        (b"null", "unmappable", "The value is null; it must be a JSON object."),
        (b"7", "unmappable", "The value is a number; it must be a JSON object."),
        (b'"{}"', "unmappable", "The value is a text; it must be a JSON object."),
    ],
)
def test_a_value_that_is_no_event_is_rejected_as_a_whole(
    value: bytes, reason: str, message: str
) -> None:
    found = ended({}, value)
    assert (found.part, found.status, found.reason) == (None, "rejected", reason)
    assert found.message.startswith(message)


def test_members_that_hold_an_object_become_the_event_in_turn() -> None:
    spec = {"unwrap": ["payload", "inner"], "values": {"a": "a"}}
    assert change(spec, {"a": "0"}).values == {"a": "0"}
    assert change(spec, {"payload": {"a": "1"}}).values == {"a": "1"}
    assert change(spec, {"payload": {"a": "1", "inner": {"a": "2"}}}).values == {"a": "2"}
    assert change(spec, {"payload": None, "inner": {"a": "2"}}).values == {"a": "2"}
    assert change(spec, {"payload": [1], "a": "0"}).values == {"a": "0"}


def test_json_within_text_is_parsed_in_its_place() -> None:
    spec = {"parse": ["Message", "row.json", "list[0].j"], "values": {"a": "Message.a"}}
    assert change(spec, {"Message": '{"a": 1.50}'}).values == {"a": "1.50"}
    assert change(spec, {"Message": {"a": "x"}}).values == {"a": "x"}
    assert change(spec, {"Message": "no JSON"}).values == {}
    assert change(spec, {"Message": '{"a": -0}'}).values == {"a": "-0"}
    nested = {**spec, "values": {"a": "row.json.b", "c": "list[0].j[0]"}}
    found = change(nested, {"row": {"json": '{"b": true}'}, "list": [{"j": '["x"]'}]})
    assert found.values == {"a": True, "c": "x"}
    assert change({**spec, "values": {"a": "Message"}}, {"Message": "{oops"}).values == {
        "a": "{oops"
    }


@pytest.mark.parametrize("path", ["a[*]", "a[0]", "a | b", ""])
def test_parse_takes_plain_paths_of_members(path: str) -> None:
    if not path:
        with pytest.raises(ValueError, match="parse"):
            faults({"parse": [path]})
        return
    (found,) = faults({"parse": ["ok", path]})
    assert found.path == ("sources", "dam", "parse", 1)
    assert "is not a plain path of a member" in found.message


def test_deep_json_within_text_stays_text() -> None:
    text = "[" * 50_000 + "]" * 50_000  # some versions of Python go thousands deep
    assert change({"parse": ["m"], "values": {"m": "m"}}, {"m": text}).values == {"m": text}


@pytest.mark.parametrize("headers", [{}, STRUCTURED, {"content-type": "text/plain"}, {"ce_x": "y"}])
def test_a_structured_event_needs_no_content_type(headers: dict[str, str]) -> None:
    """Unknown and ill-named attributes are tolerated; nothing else is asked for."""
    event = {"type": "t", "x-Odd": "o", "data": {"title": "T"}}
    assert change(CLOUD, event, headers=headers).values == {"type": "t", "title": "T", "odd": "o"}


def test_in_binary_mode_the_headers_are_the_members() -> None:
    found = change(CLOUD, {"title": "T", "type": "not this"}, headers=BINARY)
    assert found.values == {"type": "t", "title": "T", "odd": "o"}
    assert change(CLOUD, None, headers=BINARY).values == {"type": "t", "odd": "o"}
    assert ended(CLOUD, b"<x/>", headers=BINARY).reason == "undecodable"


def test_the_content_type_goes_before_the_headers() -> None:
    found = change(CLOUD, {"type": "real", "data": {}}, headers={**BINARY, **STRUCTURED})
    assert found.values == {"type": "real"}


def test_data_in_base64_is_decoded() -> None:
    encoded = base64.b64encode(b'{"title": "T"}').decode()
    assert change(CLOUD, {"data_base64": encoded}).values == {"title": "T"}
    for odd in ("%%%", f"{encoded[:4]}*{encoded[4:]}", base64.b64encode(b"\xff").decode(), 5, None):
        assert change(CLOUD, {"data_base64": odd}).values == {}
    both = {"data_base64": encoded, "data": {"title": "D"}}
    assert change(CLOUD, both).values == {"title": "D"}


def test_headers_that_are_not_utf_8_are_read_as_far_as_they_go() -> None:
    record = raw({}, headers={})
    odd = type(record)(
        "t", 0, 0, b"\xff", b"{}", (("ce_type", b"\xff"), ("ce_id", None), ("x", b"\xfe"))
    )
    (found,) = mapped({**NAMED, **CLOUD}).map(odd).parts
    assert found.event is not None


def test_a_header_name_that_is_not_utf_8_is_text_for_paths() -> None:
    """Such a name holds surrogates, which can stand neither in JSON nor in a key."""
    odd = {"ce_id": "1", "ce_\udcff": "x", "\u00e9\udcff": "y"}
    names = "$record.headers | keys(@)"

    found = change({"value": "cloudevents", "context": {"all": "$event"}}, {}, headers=odd)
    assert json.loads(bytes(found.context or b"")) == {
        "all": {"id": "1", "\ufffd": "x", "data": {}}
    }
    found = change({"context": {"names": names}}, {}, headers=odd)
    shown = ["ce_id", "ce_\ufffd", "\u00e9\ufffd"]
    assert json.loads(bytes(found.context or b"")) == {"names": shown}
    coded = {"path": f"{names} | [1]", "as": "code"}
    assert change({"code": coded}, {}, headers=odd).code.startswith("ce_")


def test_binary_keys_stay_apart() -> None:
    """A serializer of Kafka writes a number as eight bytes."""
    spec = {"code": {"path": "$key", "as": "code"}}
    codes = {change(spec, {}, key=id_.to_bytes(8, "big")).code for id_ in range(300)}

    assert len(codes) == 300
