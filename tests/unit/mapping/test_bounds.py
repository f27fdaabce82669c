"""What an event may cost: time, memory and items are bounded, whatever it holds."""

import base64
import json
import time
import tracemalloc
from typing import Any

import pytest

from service.mapping.json_values import TOKENS_MAX, UNCOUNTED_BYTES, decode, decoded_bytes
from service.mapping.results import Change, Ended, Read
from service.mapping.work import WORK_STEPS_MAX
from tests.support.mapping import NAMED, change, ended, mapped, parts_of, raw

MIB = 1024 * 1024
SECONDS_MAX = 5.0
"""Far above what an event takes, since the machine of a test may be busy."""
BYTES_MAX = 20 * MIB

SPEC: dict[str, Any] = {
    "for_each": "items",
    "code": {"first_of": ["id", "$record.offset"], "as": "code"},
    "values": {
        "path": {"path": "$event.text", "decode": "url", "part": "stem"},
        "words": {"path": "$event.list", "as": "slug"},
        "found": {"path": "$event.text", "extract": r"(\w+\s?)*$"},
        "all": "$event.list[?contains(@, 'x')]",
        "title": {"template": "{$event.text}-{id}"},
    },
}


def test_more_than_150_000_tokens_are_too_large() -> None:
    """They are counted before anything is decoded."""
    for text in (
        b"[" * (TOKENS_MAX + 1),
        b"{" + b"," * TOKENS_MAX,
        b"[" + b"[]," * TOKENS_MAX + b"1]",
    ):
        found = ended({}, text)
        assert (found.part, found.status, found.reason) == (None, "rejected", "too_large")
    assert found.message.startswith("The value has 300,001 lists, objects and elements; at most")
    assert change({"values": {"n": "n[0]"}}, {"n": [1] * (TOKENS_MAX - 10)}).values == {"n": "1"}
    assert len(b"," * UNCOUNTED_BYTES) < TOKENS_MAX


MANY = "[" + "[]," * TOKENS_MAX + "1]"
HIDDEN = json.dumps(MANY).replace("[", r"\u005b").replace(",", r"\u002c")


@pytest.mark.parametrize(
    ("spec", "value", "key", "named"),
    [
        ({"parse": ["m"]}, f'{{"m": {HIDDEN}}}', None, "m has 300,001 lists"),
        ({"parse": ["m.n"]}, f'{{"m": {{"n": {HIDDEN}}}}}', None, "n has 300,001 lists"),
        (
            {"value": "cloudevents"},
            json.dumps({"id": "1", "data_base64": base64.b64encode(MANY.encode()).decode()}),
            None,
            "data_base64 has 300,001 lists",
        ),
        ({"context": {"k": "$key.id"}}, "{}", f'{{"a": {MANY}}}', "The key has 300,002 lists"),
    ],
    ids=["a parsed text", "a parsed text below", "Base64", "the key"],
)
def test_tokens_that_are_hidden_count(
    spec: dict[str, Any], value: str, key: str | None, named: str
) -> None:
    """Escapes and Base64 hide them from the count of the text around them."""
    (found,) = mapped({**NAMED, **spec}).map(raw(value.encode(), key and key.encode())).parts

    assert isinstance(found, Ended)
    assert (found.part, found.reason) == (None, "too_large")
    assert found.message.startswith(named)


@pytest.mark.parametrize(
    "value",
    [
        b'{"text": "' + b"a" * MIB + b'", "items": [' + b"{}," * 999 + b"{}]}",
        b'{"text": "' + b"%41+" * 200_000 + b'", "items": [1, 2, 3]}',
        b'{"list": [' + b'"x y",' * 100_000 + b'"z"], "items": [' + b"1," * 999 + b"1]}",
        b'{"list": [' + b"1.5," * 140_000 + b'2], "items": [1]}',
        b'{"list": [' + b"{}," * 70_000 + b'{}], "items": [1]}',
        b'{"items": [' + b",".join(b'{"id": "%d"}' % n for n in range(1000)) + b"]}",
        b'{"text": "' + "ﷺ".encode() * 300_000 + b'", "items": [1, 2]}',
    ],
    ids=["a long text", "escapes", "a long list", "numbers", "objects", "items", "ligatures"],
)
def test_a_large_event_takes_little_time_and_memory(value: bytes) -> None:
    """Each ends within its budget: mapped, or `too_large`."""
    source = mapped({**NAMED, **SPEC})
    started = time.process_time()
    parts = source.map(raw(value)).parts
    assert time.process_time() - started < SECONDS_MAX
    assert {type(part) for part in parts} <= {Change, Ended}


@pytest.mark.slow
@pytest.mark.parametrize("element", [b"1.5", b"{}", b"[]", b'"ab"', b'{"a":1}', b"12345678901"])
def test_an_event_of_1_mib_takes_at_most_20_mib(element: bytes) -> None:
    """Whatever its elements are."""
    count = min(TOKENS_MAX // (1 + element.count(b"[") + element.count(b"{")), MIB // 4)
    value = b'{"list": [' + b",".join([element] * (count - 10)) + b"]}"
    source = mapped({**NAMED, "values": {"n": "list[0].a"}})
    record = raw(value)
    tracemalloc.start()
    source.map(record)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < BYTES_MAX


@pytest.mark.parametrize(
    "element",
    [
        b"1.5",
        b"12345678901",
        b"{}",
        b"[]",
        b'"ab"',
        b'{"a":1}',
        b'{"":{}}',
        b'{"long name %d":null,"other name %d":0}',
        '"x😀"'.encode(),
    ],
)
def test_decoded_json_takes_at_most_twice_its_estimate(element: bytes) -> None:
    """docs/operations.md counts two bytes for each that is estimated."""
    varied = element.count(b"%d")
    elements = [element % ((n,) * varied) if varied else element for n in range(5_000)]
    text = b"[" + b",".join(elements) + b"]"
    tracemalloc.start()
    kept = decode(text, "The text")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept
    assert taken <= 2 * decoded_bytes(text)


def test_the_work_of_all_items_counts_together() -> None:
    """So that a long list, looked at by each item, ends the record and not the service."""
    event = {"items": [1] * 1000, "list": ["x"] * 2000}
    found = ended({"for_each": "items", "values": {"w": "$event.list"}}, event)

    assert (found.part, found.status, found.reason) == (None, "rejected", "too_large")
    assert "500,000 steps" in found.message
    assert len(parts_of({"for_each": "items"}, event)) == 1000


def test_the_items_of_each_are_work() -> None:
    value = {"each": "list", "path": "v", "locale": {"path": "l"}}
    items = [{"l": "en_US", "v": "x"}] * 100
    assert change({"values": {"it": value}}, {"list": items}).part == 0
    assert ended({"values": {"it": value}}, {"list": [1] * 70_000}).reason == "too_large"


def test_a_usual_event_is_far_from_its_budget() -> None:
    """1,000 items with ten values each."""
    items = [{f"a{n}": "text" for n in range(10)} for _ in range(1000)]
    values = {f"a{n}": {"path": f"a{n}", "case": "upper"} for n in range(10)}
    found = parts_of({"for_each": "items", "values": values}, {"items": items})
    assert {type(part) for part in found} == {Change}


def test_the_work_of_a_mapping_is_reported() -> None:
    """Whoever maps many events one after the other lets others have a turn in between."""
    values = {f"a{number}": "list[?@ == 'x'] | [0]" for number in range(10)}
    source = mapped({**NAMED, "values": values})
    small, large = (source.map(raw({"list": ["y"] * size})).steps for size in (10, 100))

    assert 0 < 5 * small < large < WORK_STEPS_MAX
    assert source.map(raw({"list": ["y"] * 100_000})).steps == WORK_STEPS_MAX


def test_the_work_of_an_answer_is_reported() -> None:
    """It is counted for each event that the answer decides."""
    fetch = {"host": "dam", "url": "/{id}"}
    source = mapped({**NAMED, "fetch": fetch, "values": {"a": "list[?@ == 'x'] | [0]"}})
    (read,) = source.map(raw({"id": "1"})).parts
    assert isinstance(read, Read)

    assert (
        read.resume({"list": ["y"] * 100}).steps == read.resume({"list": ["y"] * 100}).steps > 100
    )
    assert read.resume({"list": ["y"] * 300_000}).steps == WORK_STEPS_MAX
