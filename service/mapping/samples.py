"""Sample records: what stands in a test of the sources file, as Kafka would deliver it."""

import re

import msgspec
from msgspec import Raw

from service.mapping.file.expectation import SampleRecord
from service.mapping.file.text import WrittenFloat
from service.mapping.results import RawRecord

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def record_of(sample: SampleRecord, topic: str, value: bytes | None) -> RawRecord:
    """Return the sample as the first record of the topic, with the value from `value_of`."""
    headers = tuple((name, text.encode()) for name, text in sample.headers.items())
    key = None if sample.key is None else text_or_json(sample.key)
    return RawRecord(topic, 0, 0, key, value, headers)


def value_of(sample: SampleRecord) -> bytes | None:
    """Return the value that the sample itself has; without one it is a tombstone."""
    return None if sample.value is None else text_or_json(sample.value)


def text_or_json(value: object) -> bytes:
    """Return a text as it is, and anything else as JSON."""
    return value.encode() if isinstance(value, str) else json_of(value)


def json_of(value: object) -> bytes:
    """Return YAML's data as JSON; numbers stay as they were written wherever JSON allows that."""
    return msgspec.json.encode(_with_written_numbers(value))


def _with_written_numbers(value: object) -> object:
    match value:
        case dict():
            return {name: _with_written_numbers(member) for name, member in value.items()}
        case list():
            return [_with_written_numbers(element) for element in value]
        case WrittenFloat() if _JSON_NUMBER.fullmatch(value.text):
            return Raw(value.text.encode())
        case WrittenFloat():
            return float(value)
    return value
