"""Events that no DAM meant: from the samples of ten sources, bent at random.

Whatever comes, each record gets an answer, and each change is one that `run` takes.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import jmespath
import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.contracts.text import flaw_of_name
from service.core.model import AssetChange, DeleteAsset, UpsertAsset
from service.core.read.convert import convert
from service.core.read.decode import decode
from service.mapping.endings import RecordEndedError
from service.mapping.explain import explain, parts_of
from service.mapping.file.load import Loaded, load
from service.mapping.json_values import ABSENT, decode_fetched
from service.mapping.paths import compile_path, parse_path
from service.mapping.results import (
    Change,
    Ended,
    Fetched,
    MappedRecord,
    MappedSource,
    NotFound,
    Part,
    RawRecord,
    Read,
)
from service.mapping.scope import Scope
from service.mapping.work import Work
from tests.property.test_fuzz import bent
from tests.support.builders import LIMITS, record

FOLDER = Path(__file__).parent.parent / "support" / "sources"


def _loaded() -> Loaded:
    found = load((FOLDER / "example.yaml").read_bytes(), "example.yaml")
    assert isinstance(found, Loaded)
    return found


LOADED = _loaded()
SOURCES = dict(LOADED.sources)
_CASES = [json.loads(path.read_text()) for path in sorted((FOLDER / "cases").glob("*.json"))]
SAMPLES: list[tuple[str, dict[str, Any]]] = [
    (case["source"], test) for case in _CASES for test in case["tests"]
]
VALUES = [json.dumps(test["record"].get("value")).encode() for _, test in SAMPLES]
BOOLEAN_TITLE: tuple[str, dict[str, Any]] = (
    "dam_db",
    {
        "record": {
            "value": {"op": "c", "after": {"code": "a", "family": "packshots", "title": True}}
        }
    },
)
ODD: tuple[object, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, 10**400, "", " ", "x" * 5000, "é/\u0000", "..", "%2e%2E",
    [], {}, [[]], [None], {"a": 1}, [{"a": []}], "2026-13-40", "9" * 400, "{", '{"a":', "\u2028",
    "ﷺ" * 300, list(range(1001)), 1795417200123,
)  # fmt: skip
"""What stands where a DAM would have written something else."""


def bend(value: object, chance: Random) -> object:
    """Return the value with some members left out, renamed, repeated or replaced."""
    if chance.random() < 0.06:
        return chance.choice(ODD)
    if isinstance(value, dict):
        kept = {name: inner for name, inner in value.items() if chance.random() > 0.04}
        return {
            name if chance.random() < 0.97 else name + "x": bend(inner, chance)
            for name, inner in kept.items()
        }
    if isinstance(value, list):
        return [bend(each, chance) for each in value for _ in range(chance.choice((1, 1, 1, 0, 2)))]
    return value


def bent_record(test: dict[str, Any], chance: Random) -> RawRecord:
    """Return the record of a sample, bent, and sometimes cut off."""
    given_record = test["record"]
    value = bend(given_record.get("value"), chance)
    text = None if value is None else json.dumps(value).encode()
    if text and chance.random() < 0.03:
        text = text[: chance.randrange(len(text))]
    key = bend(given_record.get("key"), chance)
    headers = bend(given_record.get("headers") or {}, chance)
    named = headers.items() if isinstance(headers, dict) else ()
    return RawRecord(
        topic="dam.bent",
        partition=0,
        offset=1,
        key=None if key is None else json.dumps(key).encode(),
        value=text,
        headers=tuple((name, json.dumps(content).encode()) for name, content in named),
    )


def answered(part: Part, answers: list[Fetched]) -> Iterator[Change | Ended]:
    """Return what a part becomes, with each of the answers if it asks for one."""
    if not isinstance(part, Read):
        yield part
        return
    for answer in answers:
        yield from part.resume(answer).parts


def check(mapped: MappedRecord, answers: list[Fetched]) -> None:
    """Every item has its answer, in order."""
    assert mapped.parts
    numbers = [-1 if part.part is None else part.part for part in mapped.parts]
    assert numbers == sorted(numbers)
    for part in mapped.parts:
        for found in answered(part, answers):
            if isinstance(found, Change):
                check_change(found)
            else:
                assert found.message
                assert len(found.message) < 2000


def check_change(change: Change) -> None:
    """It is what the contract asks of an event, which `run` converts to a command."""
    assert flaw_of_name(change.family) is None
    assert flaw_of_name(change.code) is None
    values = {name: _without_file(value) for name, value in (change.values or {}).items()}
    event = {
        "action": change.action,
        "asset_family": change.family,
        "code": change.code,
        "context": change.context,
        "values": values,
    }
    decoded = decode(record(msgspec.json.encode(event)), LIMITS)
    assert isinstance(decoded, AssetChange), decoded
    command = convert(decoded)
    assert isinstance(command, UpsertAsset if change.action == "upsert" else DeleteAsset)


def _without_file(value: object) -> object:
    """Return the value; a file becomes its URL, since a file needs a PIM that has it."""
    return value.get("url") if isinstance(value, dict) else value


def mapped_twice(source: MappedSource, raw: RawRecord) -> MappedRecord:
    """Map a record, which gives the same every time."""
    first, second = source.map(raw), source.map(raw)
    assert [type(part) for part in first.parts] == [type(part) for part in second.parts]
    assert [part.event for part in first.parts] == [part.event for part in second.parts]
    return first


@settings(max_examples=200)
@given(st.sampled_from(SAMPLES), st.randoms(use_true_random=False))
def test_bent_events_are_mapped_or_explained(
    sample: tuple[str, dict[str, Any]], chance: Random
) -> None:
    source, test = sample
    answers: list[Fetched] = [NotFound()]
    with suppress(RecordEndedError):
        answers.append(decode_fetched(json.dumps(bend(test.get("fetched"), chance)).encode()))
    raw = bent_record(test, chance)
    check(mapped_twice(SOURCES[source], raw), answers)
    identity = SOURCES[source].identity(raw)
    assert identity is None or identity


@settings(max_examples=200)
@given(st.sampled_from(SAMPLES), st.randoms(use_true_random=False))
@example(BOOLEAN_TITLE, Random(0))
def test_what_is_explained_is_what_happens(
    sample: tuple[str, dict[str, Any]], chance: Random
) -> None:
    """`mapping explain` and `--collisions` compile a source with a trace."""
    source, test = sample
    answer: Fetched | None = None
    with suppress(RecordEndedError):
        answer = decode_fetched(json.dumps(bend(test.get("fetched"), chance)).encode())
    raw = bent_record(test, chance)
    explained = [one.part for one in explain(LOADED, source, raw, answer)]

    assert list(map(_shown, explained)) == list(map(_shown, parts_of(SOURCES[source], raw, answer)))


def _shown(part: Part) -> object:
    """Return what is compared of a part, with true and 1 told apart."""
    if isinstance(part, Read):
        return part.part, part.url
    if isinstance(part, Ended):
        return repr(part)
    return repr(msgspec.structs.replace(part, context=None)), bytes(part.context or b"")


@settings(max_examples=200)
@given(st.sampled_from(sorted(SOURCES)), bent(VALUES), st.none() | st.binary(max_size=20))
@example("aem", b"", None)
@example("bynder", b'{"Message":"\\ud800"}', b"\xff")
def test_bent_bytes_are_mapped_or_explained(source: str, value: bytes, key: bytes | None) -> None:
    """Also the events of other DAMs."""
    raw = RawRecord("dam.bent", 0, 1, key, value, (("content-type", b"x"), ("ce_type", key)))
    check(mapped_twice(SOURCES[source], raw), [NotFound(), {}])


NAMES = ("a", "b_1", "dc:title", 'q"uote', "", "é")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
steps = st.lists(st.sampled_from(NAMES) | st.integers(-3, 3), min_size=1, max_size=4)


def written(path: list[str | int]) -> str:
    """Return the steps as the text of a path, with quotes only where they must be."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if step in {"a", "b_1"} else json.dumps(step, ensure_ascii=False)
            text += f".{name}" if text else name
    return text


@settings(max_examples=300)
@given(json_values, steps)
def test_plain_paths_find_what_jmespath_finds(document: object, path: list[str | int]) -> None:
    """Only that ours tells an absent value from null."""
    text = written(path)
    parsed = parse_path(text)
    assert parsed.steps == tuple(path)
    scope = Scope(document, document, document, ABSENT, ABSENT, ABSENT, Work())
    found = compile_path(parsed)(scope)
    assert (None if found is ABSENT else found) == jmespath.search(text, document)
