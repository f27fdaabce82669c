"""Most events are read in one go; that way and the careful one agree on every record."""

import base64
import json
from collections.abc import Iterable, Sequence
from random import Random
from unittest.mock import patch
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.adapters.akeneo.wire import write_request
from service.contracts.asset_change import CONTEXT_BYTES_MAX
from service.contracts.text import flaw_of_name
from service.core.group.asset_work import Ending
from service.core.model import AssetChange, Change, Rejection, SourceRecord, UpsertAsset
from service.core.read import decode as module
from service.core.read.decode import decode
from service.core.read.event_parts import EXTENSIONS
from service.core.read.usual_event import usual_change
from service.core.requests import DeleteOne, UpsertAssets
from service.core.settle.report import Reporter
from service.core.verdict_types import PimResponse
from tests.support.builders import BINARY, LIMITS, STRUCTURED, command, decoded, plain, record

Members = dict[str, tuple[Sequence[object], Sequence[object]]]
"""By name, what is usual and what is odd."""

ODD: list[object] = [
    "", "a", " a", "a/b", "x" * 256, "é", "\u00a0", "a\u0085", "f/c", 7, 1.5, True, None, [], {},
    ["x"], {"x": 1}, "\U0001f4f7",
]  # fmt: skip
DATA: Members = {
    "asset_family": (["packshots"], ODD),
    "code": (["sku_1A"], [*ODD, "sku_1.A-b"]),
    "values": ([{"a": "1"}, {"a": 7}, {}], [None, [], "x", 0]),
    "context": ([{}, {"x": [1]}], [None, [], "x", {"x": "y" * CONTEXT_BYTES_MAX}]),
    "other": (ODD, ODD),
}
PLAIN: Members = {
    **DATA,
    "action": (["upsert", "delete"], ["Upsert", None, 5]),
    "id": (["e1"], ODD),
    "source": (["/dam"], ODD),
    "time": (["2026-11-23T10:14:59Z"], ODD),
    "specversion": (["1.0"], ODD),
}
MEDIA = ["text/json", "application/x+json", "text/xml", "", None, 5]
CLOUD: Members = {
    "specversion": (["1.0"], ["0.3", 1, None]),
    "id": (["e1"], ODD),
    "source": (["/dam"], ODD),
    "type": (["asset.updated", "asset.deleted"], ["com.akeneo.asset.updated", "", "other", 5]),
    "datacontenttype": (["application/json"], MEDIA),
    "subject": (["f/c"], ODD),
    "time": (["2026-11-23T10:14:59Z"], ODD),
    **{name: (["t"], ODD) for name in (*EXTENSIONS, "other")},
}


def object_of(pairs: Iterable[tuple[str, str]]) -> bytes:
    """JSON of names and texts."""
    members = ", ".join(f'"{name}": {text}' for name, text in pairs)
    return f"{{{members}}}".encode()


def pairs_of(chance: Random, members: Members) -> list[tuple[str, str]]:
    """Members in any order, few of them odd: a record with several oddities tells one alone."""
    names = [name for name in members if chance.random() < 0.95]
    names += chance.choices(list(members), k=chance.choice([0, 0, 0, 1]))
    chance.shuffle(names)
    return [
        (name, json.dumps(chance.choice(members[name][chance.random() < 0.07]))) for name in names
    ]


def cloud_event(chance: Random) -> bytes:
    """A structured event, with data in place, in Base64, in both or in none."""
    content = object_of(pairs_of(chance, DATA))
    pairs = pairs_of(chance, CLOUD)
    encoded = json.dumps(base64.b64encode(content).decode())
    members = {"data": content.decode(), "data_base64": encoded}
    for name in chance.choice([["data"]] * 8 + [["data_base64"], [*members], [], ["data"] * 2]):
        pairs.insert(chance.randint(0, len(pairs)), (name, members[name]))
    return object_of(pairs)


chances = st.integers(0, 2**64).map(Random)
data = chances.map(lambda chance: object_of(pairs_of(chance, DATA)))
keys = st.sampled_from([None, b"f/c", b"f", b"\xff", b"a/b/c"])
traced = st.sampled_from([(), (("traceparent", b"h"),), (("x", None),)])
injuries = st.sampled_from([b"", b" ", b"\xef\xbb\xbf", b"\x00", b"x", b"\xff"])


def carefully(source: SourceRecord) -> AssetChange | Rejection:
    """Decode without the quick way."""
    with patch.object(module, "usual_change", lambda _record, _limits: None):
        return decode(source, LIMITS)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(chances, keys, traced, injuries)
def test_plain_events_are_read_the_same_both_ways(
    chance: Random, key: bytes | None, headers: tuple[tuple[str, bytes | None], ...], injury: bytes
) -> None:
    """Whatever their members are."""
    for _ in range(20):
        value = object_of(pairs_of(chance, PLAIN))
        for text in (value, injury + value, value + injury):
            source = record(text, key, headers)
            assert decode(source, LIMITS) == carefully(source)


@settings(max_examples=200, deadline=None)
@given(chances, keys, traced)
def test_cloud_events_are_read_the_same_both_ways(
    chance: Random, key: bytes | None, headers: tuple[tuple[str, bytes | None], ...]
) -> None:
    """Likewise."""
    for _ in range(20):
        source = record(cloud_event(chance), key, (STRUCTURED, *headers))
        assert decode(source, LIMITS) == carefully(source)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(chances, keys, traced, injuries)
def test_binary_events_are_read_the_same_both_ways(
    chance: Random, key: bytes | None, headers: tuple[tuple[str, bytes | None], ...], injury: bytes
) -> None:
    """Likewise."""
    for _ in range(20):
        value = object_of(pairs_of(chance, DATA))
        for text in (value, injury + value, value + injury):
            source = record(text, key, (*BINARY, *headers))
            assert decode(source, LIMITS) == carefully(source)


def test_the_usual_events_take_the_quick_way() -> None:
    """Else the three tests above would compare the careful way with itself."""
    made = {"asset_family": "packshots", "code": "a", "values": {"n": "1"}}
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "asset.updated", "data": made}
    for source in (
        plain(),
        record(event, headers=(STRUCTURED,)),
        record(made, headers=BINARY),
    ):
        assert usual_change(source, LIMITS) is not None


@given(data, keys)
def test_binary_and_structured_say_the_same(value: bytes, key: bytes | None) -> None:
    """One event in both modes is one change; in Base64 too."""
    attributes = {name[3:]: (content or b"").decode() for name, content in BINARY}
    binary = decode(record(value, key, BINARY), LIMITS)
    envelope = json.dumps(attributes)[:-1].encode()
    structured = record(b'%s,"data":%s}' % (envelope, value), key, (STRUCTURED,))  # fmt: skip
    encoded = json.dumps(attributes | {"data_base64": base64.b64encode(value).decode()}).encode()
    assert carefully(structured) == binary
    assert decode(record(encoded, key, (STRUCTURED,)), LIMITS) == binary


ODD_NAMES = [
    "%2F", "a?b", "#", "\\", "a\u2028b", "\ufeff", "\U0001f4f7" * 255, "é", "e\u0301", "..", ".",
    "a;b", 'a"b', "\u202e", "\u200b", "a b", "\ufffd", "\uffff",
]  # fmt: skip
names = st.sampled_from(ODD_NAMES) | st.text(min_size=1, max_size=255).filter(
    lambda name: flaw_of_name(name) is None and '"' not in name
)


@given(names, names)
def test_names_pass_through_exactly_as_they_came(family: str, code: str) -> None:
    """To the PIM's URL and body, and to the outcome's key, subject, headers and data."""
    source = plain(asset_family=family, code=code, values={"a": "1"})
    change = decoded(source)
    assert (change.asset.family, change.asset.code) == (family, code)
    made = command(source)
    assert isinstance(made, UpsertAsset)
    dots = {".", ".."}
    if (patched := write_request(UpsertAssets(family, (made,)))) is not None:
        assert unquote(patched.path.split("/")[-2]) == family
        assert json.loads(patched.body or b"")[0]["code"] == code
    if (deleted := write_request(DeleteOne(family, code))) is not None:
        assert [unquote(part) for part in deleted.path.split("/")[-3::2]] == [family, code]
    assert (patched is None) == (family in dots)
    assert (deleted is None) == bool({family, code} & dots)
    admitted = Change(source, source.size, made, change.event, (), 0.0, 0, attempts=1)
    ending = Ending("applied", "created", response=PimResponse(201))
    outcome = Reporter("/asset-sync/test").of_change(admitted, ending, 0).outcome
    written = json.loads(outcome.value or b"")
    assert (written["data"]["asset_family"], written["data"]["code"]) == (family, code)
    path = f"{family}/{code}"
    assert outcome.key == dict(outcome.headers)["ce_subject"] == path.encode()
    assert written["subject"] == path
    by_key = decoded(record(None, path.encode()))
    by_subject = decoded(
        record(None, headers=(*BINARY[:3], ("ce_type", b"asset.deleted"),
                              ("ce_subject", path.encode())))
    )  # fmt: skip
    assert by_key.asset == by_subject.asset == change.asset
