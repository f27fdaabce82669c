"""Explains how each value of a change was made, for `asset-sync mapping explain`."""

from collections.abc import Iterator
from dataclasses import dataclass

from service.mapping.file.load import Loaded
from service.mapping.results import Fetched, MappedSource, Part, RawRecord, Read
from service.mapping.trace import TraceRow


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one item of a record has become, and how each of its values was made."""

    part: Part
    rows: tuple[TraceRow, ...]


def explain(
    loaded: Loaded, source: str, record: RawRecord, answer: Fetched | None
) -> Iterator[Explanation]:
    """Yield what each item becomes, in order; `answer` is what the DAM says when it is asked."""
    traced, trace = loaded.traced(source)
    numbers = dict.fromkeys(part.part for part in loaded.sources[source].map(record).parts)
    for number in numbers:
        trace.clear()
        only = None if number is None else frozenset({number})
        for part in parts_of(traced, record, answer, only):
            yield Explanation(part, tuple(trace.rows))


def parts_of(
    source: MappedSource,
    record: RawRecord,
    answer: Fetched | None,
    only_parts: frozenset[int] | None = None,
) -> tuple[Part, ...]:
    """Return what the record becomes; with the DAM's answer, also what is read back."""
    parts: list[Part] = []
    for part in source.map(record, only_parts).parts:
        if isinstance(part, Read) and answer is not None:
            parts += part.resume(answer).parts
        else:
            parts.append(part)
    return tuple(parts)
