"""Leaves faulty parts out of a file, so that what is left can be compiled for further faults."""

from collections.abc import Iterable

from service.mapping.faults import DocumentPath, Fault
from service.mapping.file.model import Source, SourcesFile, Value
from service.mapping.file.validation import validate

ROUNDS_MAX = 4
"""How often faulty parts are left out: a part may be faulty because another one is gone."""

_STAND_IN = Value.model_validate({"const": "-"})
_RULE = {"do": "skip"}
_TABLE = {"-": "-"}


def sound_part(data: object, faults: Iterable[Fault]) -> SourcesFile | None:
    """Return the file without its faulty parts, or None if too little is left of it.

    Lists keep their length, so that the places of what is left stay what they were.
    """
    cut = {path for fault in faults if (path := _cut(fault.path))}
    for _ in range(ROUNDS_MAX):
        model = validate(_without(data, cut))
        if isinstance(model, SourcesFile):
            return model
        cut |= {path for fault in model if (path := _cut(fault.path))}
    return None


def compilable(source: Source) -> Source:
    """Return the source with a stand-in for the names of its assets, if it lacks them."""
    named = {"code": source.code or _STAND_IN, "family": source.family or _STAND_IN}
    return source.model_copy(update=named)


def _cut(path: DocumentPath) -> DocumentPath:
    """Return the path of what to leave out because of a fault."""
    if "tests" in path[2:3]:
        return path[:3]
    if path[:1] == ("tables",):
        return path[:2]
    while path and isinstance(path[-1], int) and path[-2] != "rules":
        path = path[:-1]
    return path


def _without(data: object, cut: set[DocumentPath], at: DocumentPath = ()) -> object:
    match data:
        case dict():
            kept = {
                key: _without(member, cut, (*at, key))
                for key, member in data.items()
                if (*at, key) not in cut
            }
            return {**dict.fromkeys(data, _TABLE), **kept} if at == ("tables",) else kept
        case list():
            return [
                _RULE if (*at, index) in cut else _without(element, cut, (*at, index))
                for index, element in enumerate(data)
            ]
    return data
