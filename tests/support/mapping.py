"""Sources of the sources file, compiled and asked in one line."""

import json
from collections.abc import Mapping
from typing import Any

from service.mapping.compile import compile_source
from service.mapping.faults import DocumentPath, Fault
from service.mapping.file.model import Source
from service.mapping.results import (
    Change,
    Ended,
    Fetched,
    MappedSource,
    Part,
    RawRecord,
    Read,
)
from service.mapping.trace import Trace

Spec = Mapping[str, Any]
"""A source as it stands in the file."""

NAMED: Spec = {
    "topics": ["dam.test"],
    "family": {"const": "packshots"},
    "code": {"const": "a1"},
    "rules": [{"do": "upsert"}],
}
"""A source that takes every event as an upsert of packshots/a1."""

TABLES: dict[str, dict[str, str | list[str]]] = {
    "colours": {"Red": "red", "Rot": "red", "Multi": ["red", "purple"]},
    "locales": {"en": "en_US", "fr": "fr_FR"},
}
NOTHING = object()
"""What a value that is not sent is compared with."""

SIMPLE = """\
version: 1
hosts: {dam: {base: "https://dam.example"}}
sources:
  one:
    topics: [dam.one]
    family: {const: packshots}
    code: id
    rules: [{do: upsert}]
"""
"""A sources file with one source; it ends where a test adds to that."""


def line_of(at: DocumentPath) -> str:
    """Name a part by its keys, which a test can tell apart."""
    return "/".join(map(str, at[2:]))


def mapped(spec: Spec, trace: Trace | None = None) -> MappedSource:
    """Compile a source that has no fault."""
    found = compile_source("dam", Source.model_validate(dict(spec)), TABLES, line_of, trace)
    assert not isinstance(found, tuple), found
    return found


def faults(spec: Spec) -> list[Fault]:
    """Compile a source that has faults."""
    found = compile_source("dam", Source.model_validate({**NAMED, **spec}), TABLES, line_of)
    assert isinstance(found, tuple)
    return list(found)


def raw(
    value: object,
    key: object = None,
    headers: Mapping[str, str] | None = None,
    timestamp_ms: int = -1,
) -> RawRecord:
    """A record; what is no bytes (and not None) becomes JSON."""
    return RawRecord(
        topic="dam.test",
        partition=3,
        offset=7,
        key=_bytes(key),
        value=_bytes(value),
        headers=tuple((name, text.encode()) for name, text in (headers or {}).items()),
        timestamp_ms=timestamp_ms,
    )


def _bytes(given: object) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    return json.dumps(given, ensure_ascii=False).encode()


def parts_of(spec: Spec, value: object, **beside: Any) -> tuple[Part, ...]:  # noqa: ANN401 - as `raw` takes it
    return mapped({**NAMED, **spec}).map(raw(value, **beside)).parts


def resumed(spec: Spec, value: object, answer: Fetched) -> tuple[Change | Ended, ...]:
    """Map an event that is read back, with this answer."""
    (part,) = parts_of(spec, value)
    assert isinstance(part, Read)
    return part.resume(answer).parts


def change(spec: Spec, value: object, **beside: Any) -> Change:  # noqa: ANN401 - as `raw` takes it
    """Map an event that asks for one change."""
    (part,) = parts_of(spec, value, **beside)
    assert isinstance(part, Change), part
    return part


def ended(spec: Spec, value: object, **beside: Any) -> Ended:  # noqa: ANN401 - as `raw` takes it
    """Map an event that ends early."""
    (part,) = parts_of(spec, value, **beside)
    assert isinstance(part, Ended), part
    return part


def sent(value: object, event: object, **spec: object) -> object:
    """Return what is sent for the attribute `it` with this value, or `NOTHING`."""
    found = change({"values": {"it": value}, **spec}, event).values
    assert found is not None
    return found.get("it", NOTHING)


def refused(value: object, event: object, **spec: object) -> str:
    """Return the message of an event that this value makes unmappable."""
    found = ended({"values": {"it": value}, **spec}, event)
    assert (found.status, found.reason) == ("rejected", "unmappable")
    return found.message


def fault_of(value: object) -> str:
    """Return the only fault of this value for the attribute `it`."""
    (found,) = faults({"values": {"it": value}})
    return found.message
