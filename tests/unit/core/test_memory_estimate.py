"""What pending changes take in memory: counted, and a reason to pause."""

import base64
import itertools
import json
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest
from msgspec import Raw

from service.core.effects import SetIntake
from service.core.inputs import Arrived, Assigned, Start
from service.core.limits import DecodeLimits, Limits
from service.core.model import (
    AssetChange,
    Headers,
    Moment,
    Omission,
    Origin,
    Partition,
    Rejection,
    SourceRecord,
)
from service.core.pipeline import Pipeline
from service.core.read.convert import convert
from service.core.read.decode import decode
from service.core.read.memory_estimate import (
    ESTIMATED_BYTES_MAX,
    USUAL_BYTES,
    may_grow,
    occupied,
)
from service.core.read.value_forms import taken_apart
from service.core.settle.report import Reporter

KIB, MIB = 1024, 1024 * 1024
EVENTS = Partition("events", 0)
LIMITS = DecodeLimits(MIB)
VALUES: dict[str, object] = {
    "a text": {"text": "x" * 800 * KIB},
    "a text in an alphabet that is not Latin": {"text": "日" * 250 * KIB + "😀"},
    "numbers": {f"{n:x}": n for n in range(40_000)},
    "nothing": {f"{n:x}": None for n in range(40_000)},
    "empty lists": {f"{n:x}": [] for n in range(40_000)},
    "options": {"options": [f"{n:x}" for n in range(80_000)]},
    "locales": {"text": [{"data": "", "locale": str(n)} for n in range(20_000)]},
}


def record(values: object, offset: int = 0) -> SourceRecord:
    """An upsert of one asset."""
    event = {"action": "upsert", "asset_family": "f", "code": "c", "values": values}
    return SourceRecord(Origin(EVENTS, offset, 1), b"f/c", msgspec.json.encode(event))


SMALL_VALUES: dict[str, object] = {
    "a text": {"text": "x" * 5 * KIB},
    "a text in an alphabet that is not Latin": {"text": "日" * 800},
    "a text of wide characters": {"text": "x" * 2 * KIB + "😀"},
    "numbers": {f"{n:x}": n for n in range(40)},
    "nothing": {f"{n:x}": None for n in range(40)},
    "empty lists": {f"{n:x}": [] for n in range(40)},
    "options": {"options": [f"{n:x}" for n in range(40)]},
    "locales": {"text": [{"data": "a", "locale": str(n)} for n in range(24)]},
    "channels": {"text": [{"data": "a", "locale": str(n), "channel": "c"} for n in range(16)]},
}


def in_base64(event: dict[str, object]) -> bytes:
    """A CloudEvent whose data is packed."""
    data = base64.b64encode(msgspec.json.encode(event)).decode()
    attributes = {"specversion": "1.0", "id": "1", "source": "/s", "type": "asset.updated"}
    return msgspec.json.encode(attributes | {"data_base64": data})


FORMS: dict[str, Callable[[dict[str, object]], bytes]] = {
    "as it is": lambda event: msgspec.json.encode({"action": "upsert", **event}),
    "escaped": lambda event: json.dumps({"action": "upsert", **event}).encode(),
    "base64": in_base64,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VALUES)
def test_what_is_counted_is_what_it_takes(name: str) -> None:
    """Within a third, and rather too much."""
    one = record(VALUES[name])
    size, real = measured(one)
    assert real * 0.9 < size < real * 1.35


@pytest.mark.parametrize("name", SMALL_VALUES)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_estimated_is_not_less_than_it_takes(name: str, form: str) -> None:
    """Values of a few kilobytes stay JSON."""
    event = {"asset_family": "f", "code": "c", "values": SMALL_VALUES[name]}
    headers: Headers = (("content-type", b"application/cloudevents+json"),)
    value = FORMS[form](event)
    one = SourceRecord(Origin(EVENTS, 0, 1), b"f/c", value, headers if form == "base64" else ())
    size, real = measured(one)
    assert real * 0.9 < size or real < USUAL_BYTES
    assert size <= max(real * 1.35, ESTIMATED_BYTES_MAX)


SHAPES: dict[str, Callable[[int], object]] = {
    "a text": lambda n: {"text": "x" * n},
    "a text of wide characters": lambda n: {"text": "x" * n + "😀"},
    "numbers": lambda n: {f"{i:x}": i for i in range(n)},
    "nothing": lambda n: {f"{i:x}": None for i in range(n)},
    "empty lists": lambda n: {f"{i:x}": [] for i in range(n)},
    "options": lambda n: {"options": [f"{i:x}" for i in range(n)]},
    "locales": lambda n: {"text": [{"data": "a", "locale": str(i)} for i in range(n)]},
}


@pytest.mark.parametrize("name", SHAPES)
def test_values_that_stay_json_take_little_when_they_are_taken_apart(name: str) -> None:
    """Nobody counts the objects that are made of them for a call."""
    texts = (Raw(json.dumps(SHAPES[name](n)).encode()) for n in itertools.count())
    small = list(
        itertools.takewhile(lambda text: not may_grow(text), itertools.islice(texts, 9_000))
    )
    largest = small[-1]
    taken_apart(largest)  # what is made once for all values
    tracemalloc.start()
    try:
        values = taken_apart(largest)
        real = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert values
    assert real <= ESTIMATED_BYTES_MAX
    assert len(small) < 9_000, "the limit was not reached"


def measured(one: SourceRecord) -> tuple[int, int]:
    """What is counted of a record and its command, and what both take in memory."""
    assert one.value is not None
    counted(one)  # what is made once for all records
    tracemalloc.start()
    try:
        change = decode(one, LIMITS)
        assert isinstance(change, AssetChange)
        command = convert(change)
        del change
        real = tracemalloc.get_traced_memory()[0] + len(one.value)
    finally:
        tracemalloc.stop()
    assert not isinstance(command, Rejection)
    return counted(one), real


def counted(one: SourceRecord) -> int:
    """What is counted of a record and its command."""
    change = decode(one, LIMITS)
    assert isinstance(change, AssetChange)
    command = convert(change)
    assert not isinstance(command, Rejection)
    return occupied(one, command)


def test_an_ordinary_change_is_not_counted() -> None:
    """It is within what each change may take."""
    one = record({"photographer": "ben", "colors": ["red", "blue"], "n": 5})
    assert counted(one) == 0


def test_headers_without_content_are_counted() -> None:
    """They count for nothing in the record's size."""
    one = SourceRecord(Origin(EVENTS, 0, 1), None, b"{", (("", None),) * 5_000)
    assert one.size == 1
    assert occupied(one, None) > 100 * USUAL_BYTES


def paused_after(values: object, pending_bytes_max: int) -> int:
    """How many such changes are taken until intake pauses."""
    pipeline = Pipeline(Limits(LIMITS, pending_bytes_max=pending_bytes_max), lambda: 0.5)
    pipeline.step(Assigned(1, {EVENTS: Start(0)}, 1), Moment(0.0, 0))
    for offset in range(1000):
        arrived = Arrived((record(values, offset),))
        for effect in pipeline.step(arrived, Moment(0.0, 0)):
            if isinstance(effect, SetIntake) and effect.paused:
                return offset + 1
    raise AssertionError


def test_intake_pauses_by_bytes_and_by_memory() -> None:
    """Long texts pause it at their bytes; many short values at what they take."""
    assert paused_after({"text": "x" * 100 * KIB}, MIB) == 11
    numbers = {f"{n:x}": n for n in range(5_000)}
    size = record(numbers).size
    assert paused_after(numbers, 20 * size) <= 4


def test_memory_may_be_twice_the_bytes() -> None:
    """Many short values pause intake when they occupy two bytes for each pending byte."""
    numbers = {f"{n:x}": n for n in range(5_000)}
    occupied_bytes = counted(record(numbers))
    assert paused_after(numbers, 2 * occupied_bytes) == 4


def test_a_record_without_its_value_ends_rejected() -> None:
    """Its dead letter says what it lacks."""
    omission = Omission("too_large", "It is too large.", ("value", "headers"))
    one = SourceRecord(Origin(EVENTS, 7, 1), b"k", None, (), 5, omission)
    rejection = decode(one, LIMITS)
    assert isinstance(rejection, Rejection)
    assert (rejection.status, rejection.reason) == ("rejected", "too_large")
    completed = Reporter("/asset-sync/test").of_rejection(one, rejection, 0)
    assert completed.dead_letter is not None
    assert completed.dead_letter.value is None
    headers = dict(completed.dead_letter.headers)
    assert headers["dlq.value.omitted"] == headers["dlq.headers.omitted"] == b"true"
    assert "dlq.key.omitted" not in headers
