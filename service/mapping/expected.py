"""Compares what a mapping made of a record with what a test expects."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from service.mapping.file.expectation import KINDS, Expectation, ExpectedEntry, ExpectedUpload
from service.mapping.json_values import encode
from service.mapping.results import Change, Ended, Part, Read
from service.mapping.samples import json_of

NOTHING = "nothing"

Entry = tuple[str, str, object]
"""Locale, channel and data of a value; no locale or channel is an empty text."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where a result is not as expected; both are shown in one line each.

    Attributes:
        index: The number of the change from 0; None for their number.
        label: The attribute, `context` or `message`; None for what kind of change it is.
        expected: What the test says.
        found: What the mapping made.
    """

    index: int | None
    label: str | None
    expected: str
    found: str


def mismatches(
    expected: Sequence[Expectation], found: Sequence[Part], bases: Mapping[str, str]
) -> Iterator[Mismatch]:
    """Yield what differs; `bases` has the base URL of each host."""
    if len(expected) != len(found):
        made = ", ".join(_said(part, bases) for part in found)
        yield Mismatch(None, None, str(len(expected)), f"{len(found)} ({made})")
    for index, (wanted, part) in enumerate(zip(expected, found, strict=False)):
        if _kind(wanted) != kind_of(part, bases):
            yield Mismatch(index, None, _kind(wanted), _said(part, bases))
            continue
        for label, should, does in _members(wanted, part):
            if should != does:
                yield Mismatch(index, label, should, does)


def kind_of(part: Part, bases: Mapping[str, str]) -> str:
    """Return a result without its values: `upsert packshots/a1`, `skipped no_family`."""
    match part:
        case Change():
            return f"{part.action} {part.family}/{part.code}"
        case Ended():
            return f"{part.status} {part.reason}"
        case Read():
            return f"fetch {bases.get(part.host, '')}{part.url}"


def entries_of(value: object) -> list[Entry]:
    """Return the entries of an attribute's value, in the order of locale and channel."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        entries = [(e.get("locale") or "", e.get("channel") or "", e["data"]) for e in value]
    else:
        entries = [("", "", value)]
    return sorted(entries, key=lambda entry: entry[:2])


def shown_entries(entries: Iterable[Entry]) -> str:
    """Return entries in one line of JSON, short where there is neither locale nor channel."""
    listed = list(entries)
    if len(listed) == 1 and listed[0][:2] == ("", ""):
        return encode(listed[0][2]).decode()
    named = ({"locale": e[0] or None, "channel": e[1] or None, "data": e[2]} for e in listed)
    short = [
        {name: given for name, given in entry.items() if given or name == "data"} for entry in named
    ]
    return encode(short).decode()


def _said(part: Part, bases: Mapping[str, str]) -> str:
    kind = kind_of(part, bases)
    return f"{kind}: {part.message}" if isinstance(part, Ended) else kind


def _kind(expectation: Expectation) -> str:
    given = next(kind for kind in KINDS if getattr(expectation, kind) is not None)
    return f"{given} {getattr(expectation, given)}"


def _members(wanted: Expectation, part: Part) -> Iterator[tuple[str, str, str]]:
    """Yield what else the test says: a label, what is expected and what was found."""
    if isinstance(part, Change) and wanted.values is not None:
        yield from _values(wanted.values, part.values or {})
    if isinstance(part, Change) and wanted.context is not None:
        found = NOTHING if part.context is None else _normal(part.context)
        yield "context", _normal(json_of(wanted.context)), found
    if isinstance(part, Ended) and wanted.message is not None:
        is_there = wanted.message in part.message
        yield "message", wanted.message, wanted.message if is_there else part.message


def _values(
    wanted: Mapping[str, Sequence[ExpectedEntry]], found: Mapping[str, object]
) -> Iterator[tuple[str, str, str]]:
    for attribute in dict.fromkeys(itertools.chain(wanted, found)):
        should, does = NOTHING, NOTHING
        if attribute in wanted:
            entries = [(e.locale or "", e.channel or "", _data(e)) for e in wanted[attribute]]
            should = shown_entries(sorted(entries, key=lambda entry: entry[:2]))
        if attribute in found:
            does = shown_entries(entries_of(found[attribute]))
        yield attribute, should, does


def _data(entry: ExpectedEntry) -> object:
    if isinstance(entry.data, ExpectedUpload):
        return entry.data.model_dump(exclude_unset=True)
    return None if entry.data == [] else entry.data


def _normal(text: bytes | msgspec.Raw) -> str:
    """Return JSON in one form; numbers that no float can hold are infinite."""
    found = json.loads(bytes(text))
    return json.dumps(found, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
