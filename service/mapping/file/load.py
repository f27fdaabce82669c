"""Loads a sources file: its text, its profiles, the model, the checks, and the compiled sources.

Everything that is wrong is found at once, each with its line and column.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from service.mapping.file.checks import NOTHING_AROUND, Surroundings, check
from service.mapping.file.merge import Merged, PlacedFault, digest, merge
from service.mapping.file.model import SourcesFile
from service.mapping.file.text import TextFault, read
from service.mapping.file.validation import validate

Faults = tuple[PlacedFault, ...]


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A sources file that fits its model and its checks.

    Attributes:
        merged: The file with its profiles, for the places of its parts.
        model: The same as its model.
        digest: 12 hexadecimal digits of SHA-256 of the file and its profiles.
    """

    merged: Merged
    model: SourcesFile
    digest: str


def parse(content: bytes, name: str, around: Surroundings = NOTHING_AROUND) -> ParsedFile | Faults:
    """Return the file without compiling its sources, or everything that is wrong with it.

    Args:
        content: The bytes of the file.
        name: The name of the file in messages.
        around: What the file must not collide with.
    """
    document = read(content)
    if isinstance(document, tuple):
        return _sorted(_in_text(name, document))
    merged, profile_faults = merge(document, name)
    in_text = _in_text(name, document.faults)
    model = validate(merged.data)
    if isinstance(model, tuple):
        in_model = map(merged.placed, (*profile_faults, *model))
        return _sorted((*in_text, *_elsewhere(in_text, in_model)))
    found = map(merged.placed, (*profile_faults, *check(model, around)))
    faults = _sorted((*in_text, *_elsewhere(in_text, found)))
    return faults or ParsedFile(merged, model, digest(content, merged))


def _in_text(name: str, faults: Iterable[TextFault]) -> Faults:
    return tuple(PlacedFault(name, fault.place, fault.message) for fault in faults)


def _elsewhere(known: Faults, found: Iterable[PlacedFault]) -> Iterable[PlacedFault]:
    """Leave out what follows from a fault that is known already, such as an alias without value."""
    places = {fault.place for fault in known}
    return (fault for fault in found if fault.place not in places)


def _sorted(faults: Iterable[PlacedFault]) -> Faults:
    return tuple(sorted(set(faults)))
