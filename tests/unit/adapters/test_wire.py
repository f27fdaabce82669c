"""The JSON of the Asset API: written exactly, read leniently (akeneo.md §2, §7, §8)."""

import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.akeneo.wire import (
    read_answer,
    read_reply,
    write_request,
)
from service.adapters.http_client import read_retry_after
from service.core.group.shape import Structure, shape
from service.core.model import Asset, UpsertAsset
from service.core.requests import (
    DeleteOne,
    GetAttributes,
    GetFamilies,
    GetFamily,
    GetOptions,
    Request,
    UpsertAssets,
)
from tests.support.builders import nested


def test_an_upsert_is_one_array() -> None:
    """An item has `code` and `values` in the PIM's shape, and nothing else."""
    values = nested(
        {
            ("label", "en_US", None): "Side",
            ("label", "fr_FR", None): None,
            ("on", None, "print"): True,
        }
    )
    asset = UpsertAsset(Asset("pack", "a"), values, 0)
    written = write_request(UpsertAssets("pack", (asset,)))

    assert written is not None
    assert (written.method, written.path) == ("PATCH", "/api/rest/v1/asset-families/pack/assets")
    label = [
        {"locale": "en_US", "channel": None, "data": "Side"},
        {"locale": "fr_FR", "channel": None, "data": None},
    ]
    on = [{"locale": None, "channel": "print", "data": True}]
    assert json.loads(written.body or b"") == [{"code": "a", "values": {"label": label, "on": on}}]


@pytest.mark.parametrize(
    ("code", "segment"),
    [("a b", "a%20b"), ("ä", "%C3%A4"), ("a?b#c", "a%3Fb%23c"), ("50%", "50%25"), ("..a", "..a")],
)
def test_codes_are_encoded(code: str, segment: str) -> None:
    """Any code arrives exactly as given."""
    written = write_request(DeleteOne("f", code))
    assert written is not None
    assert written.path == f"/api/rest/v1/asset-families/f/assets/{segment}"


@pytest.mark.parametrize("code", [".", ".."])
def test_steps_of_a_path_are_no_codes(code: str) -> None:
    """A proxy would resolve them, and another resource would be deleted."""
    assert write_request(DeleteOne("f", code)) is None
    assert write_request(DeleteOne(code, "a")) is None
    assert write_request(GetFamily(code)) is None


def test_reading_the_family_list() -> None:
    """The request is a GET without a body."""
    written = write_request(GetFamilies())
    assert written is not None
    assert (written.method, written.path, written.body) == (
        "GET",
        "/api/rest/v1/asset-families",
        None,
    )


def test_items_are_read_with_their_errors_verbatim() -> None:
    """Missing and unexpected members are unknown, and not an error."""
    body = (
        b'[{"code":"a","status_code":201},{"code":"b","status_code":"422","message":"No",'
        b'"errors":[{"property":"values.x","message":"m","more":1}]},{"status_code":[]},7]'
    )
    reply = read_reply(200, {}, body)

    assert reply.items is not None
    first, second, third, fourth = reply.items
    assert (first.code, first.status) == ("a", 201)
    assert (second.status, second.message) == (422, "No")
    assert bytes(second.errors[0]) == b'{"property":"values.x","message":"m","more":1}'
    assert (third.code, third.status) == (None, None)
    assert fourth.code is None


def test_the_pims_own_errors_repeat_their_status() -> None:
    """A proxy's JSON or HTML does not repeat it."""
    assert read_reply(422, {}, b'{"code":422,"message":"x"}').is_from_pim
    assert not read_reply(422, {}, b'{"error":"bad gateway"}').is_from_pim
    assert not read_reply(404, {}, b'{"code":"NOT_FOUND","message":"route"}').is_from_pim
    assert not read_reply(404, {}, b"<html>404</html>").is_from_pim
    assert read_reply(404, {}, b"<html>").message == "HTTP 404 Not Found"


def test_retry_after() -> None:
    """The header has seconds, a date, or nothing usable."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert read_retry_after("7") == 7.0
    assert read_retry_after("\u00a0" * 12 + "5") == 5.0
    assert 50 < (read_retry_after(soon) or 0) <= 60
    assert read_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    for odd in (None, "", "soon", "-3", "1.5", "Wed, 99 Oct 2015"):
        assert read_retry_after(odd) is None, odd


@given(st.text(max_size=60))
def test_any_retry_after_is_seconds_or_nothing(text: str) -> None:
    """A proxy may write anything there."""
    found = read_retry_after(text)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    "limits",
    [
        {"max_characters": "9" * 5000},
        {"max_characters": 10**17},
        {"max_characters": -1},
        {"min_value": "NaN", "max_value": "sNaN"},
        {"min_value": "-Infinity", "max_value": "1" * 5000},
        {"min_value": "1e999999999999999999999"},
    ],
)
def test_a_limit_that_is_not_one_limits_nothing(limits: dict[str, object]) -> None:
    """The structure is read, and no value is refused for such a limit."""
    body = json.dumps([{"code": "pages", "type": "number", **limits}]).encode()
    reply = read_answer(GetAttributes("packshots"), 200, {}, body)

    assert reply.attributes is not None
    assert (reply.attributes[0].least, reply.attributes[0].most) == (None, None)
    structure = Structure({"pages": reply.attributes[0]}, {})
    shaped = shape(nested({("pages", None, None): "12"}), structure, None)
    assert shaped.flaws_count == 0


@pytest.mark.parametrize(
    ("shown", "extensions", "bytes_max"),
    [
        ({}, None, None),
        ({"allowed_extensions": [], "max_file_size": None}, None, None),
        ({"allowed_extensions": None, "max_file_size": "10"}, None, 10 * 1024**2),
        ({"allowed_extensions": ["JPG", ".png"], "max_file_size": 0.5}, {"jpg", "png"}, 512 * 1024),
        ({"allowed_extensions": {"1": "jpg"}, "max_file_size": "10.00"}, {"jpg"}, 10 * 1024**2),
        ({"max_file_size": "0"}, None, None),
        ({"max_file_size": "-1"}, None, None),
        ({"max_file_size": "NaN"}, None, None),
        ({"max_file_size": "1e900"}, None, None),
        ({"max_file_size": "9" * 5000}, None, None),
    ],
)
def test_the_limits_of_a_media_file(
    shown: dict[str, object], extensions: set[str] | None, bytes_max: int | None
) -> None:
    """Numbers come as text too, and PHP writes a list with gaps as an object."""
    body = json.dumps([{"code": "media", "type": "media_file", **shown}]).encode()
    reply = read_answer(GetAttributes("packshots"), 200, {}, body)

    assert reply.attributes is not None
    assert (reply.attributes[0].extensions, reply.attributes[0].bytes_max) == (
        extensions,
        bytes_max,
    )


MIB = 1024 * 1024


def repeated(head: bytes, item: bytes, tail: bytes) -> bytes:
    """Return 16 MiB of the item between head and tail."""
    return head + item * (16 * MIB // len(item)) + tail


def numbered() -> bytes:
    """Return an object of 16 MiB whose members all have another name."""
    return b"{" + b",".join(b'"%d":1' % number for number in range(8 * MIB // 5)) + b"}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "make_body",
    [
        partial(repeated, b"[", b"1,", b"1]"),
        partial(repeated, b'{"code":422,"message":"x","errors":[', b"1,", b"1]}"),
        partial(repeated, b'[{"code":"a","status_code":422,"errors":[', b"1,", b"1]}]"),
        partial(repeated, b'[{"code":[],"status_code":422,"errors":[', b"1,", b"1]}]"),
        numbered,
        partial(repeated, b"[", b'{"code":"","type":""},', b'{"code":"","type":""}]'),
        partial(repeated, b"[", b'{"code":"","status_code":1},', b"{}]"),
        partial(repeated, b'{"_embedded":{"items":[', b'{"code":""},', b'{"code":""}]}}'),
        partial(repeated, b"", b"[", b""),
        partial(repeated, b"", b'{"a":', b""),
    ],
    ids=range(10),
)
@pytest.mark.parametrize(
    "request_",
    [
        UpsertAssets("f", ()),
        GetAttributes("f"),
        GetOptions("f", "a"),
        GetFamilies(),
    ],
    ids=lambda request: type(request).__name__,
)
@pytest.mark.parametrize("status", [200, 422])
def test_what_is_parsed_is_bounded_as_it_is_parsed(
    request_: Request, status: int, make_body: Callable[[], bytes]
) -> None:
    """An answer of 16 MiB must not become a gigabyte of objects."""
    body = make_body()
    tracemalloc.start()
    try:
        reply = read_answer(request_, status, {}, body)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert reply.status == status
    assert peak < 2 * len(body) + 4 * MIB
    assert kept < MIB


@given(st.integers(100, 599), st.binary(max_size=200))
def test_any_body_is_an_answer(status: int, body: bytes) -> None:
    """No body that a server sends raises an exception."""
    assert read_reply(status, {}, body).status == status


json_bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["code", "status_code", "message", "errors"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(st.integers(100, 599), json_bodies)
def test_any_json_is_an_answer(status: int, content: object) -> None:
    """No JSON that a server sends raises an exception."""
    reply = read_reply(status, {}, json.dumps(content).encode())
    assert reply.items is None or isinstance(content, list)
