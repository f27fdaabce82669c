"""Loads a sources file: its text, its profiles, the model, the checks, and the compiled sources.

Everything that is wrong is found at once, each with its line and column.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from service.mapping.compile import compile_source
from service.mapping.faults import Fault
from service.mapping.file.checks import NOTHING_AROUND, Surroundings, check
from service.mapping.file.merge import Merged, PlacedFault, digest, merge
from service.mapping.file.model import SourcesFile
from service.mapping.file.prune import compilable, sound_part
from service.mapping.file.text import TextFault, read
from service.mapping.file.validation import validate
from service.mapping.results import MappedSource
from service.mapping.trace import Trace

FAULTS_MAX = 200
"""How many faults are reported at once."""

Faults = tuple[PlacedFault, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A sources file without fault.

    Attributes:
        merged: The file with its profiles, for the places of its parts.
        model: The same as its model.
        digest: 12 hexadecimal digits of SHA-256 of the file and its profiles.
        sources: The compiled sources by name.
    """

    merged: Merged
    model: SourcesFile
    digest: str
    sources: Mapping[str, MappedSource]

    def traced(self, name: str) -> tuple[MappedSource, Trace]:
        """Return a source that notes how it makes each value, and where it notes it."""
        trace = Trace()
        source = compile_source(
            name, compilable(self.model.sources[name]), self.model.tables, self.merged.locate, trace
        )
        assert not isinstance(source, tuple)  # it was compiled without fault
        return source, trace


def load(content: bytes, name: str, around: Surroundings = NOTHING_AROUND) -> Loaded | Faults:
    """Return the file with its sources compiled, or everything that is wrong with it.

    Args:
        content: The bytes of the file.
        name: The path of the file, as faults show it.
        around: What the file must not collide with.
    """
    document = read(content)
    if isinstance(document, tuple):
        return _limited(_in_text(name, document))
    merged, profile_faults = merge(document, name)
    in_text = _in_text(name, document.faults)
    model = validate(merged.data)
    if isinstance(model, tuple) or profile_faults:
        in_form = (*profile_faults, *(model if isinstance(model, tuple) else ()))
        return _faults(merged, in_text, (*in_form, *_further(merged, in_form, around)))
    sources, compile_faults = _compiled(model, merged)
    faults = _faults(merged, in_text, (*check(model, around), *compile_faults))
    return faults or Loaded(merged, model, digest(content, merged), sources)


def _further(merged: Merged, known: tuple[Fault, ...], around: Surroundings) -> tuple[Fault, ...]:
    """Return the faults that checks and compiling find in what has no fault in its form."""
    model = sound_part(merged.data, known)
    if model is None:
        return ()
    return (*_check_of_others(model, known, around), *_compiled(model, merged)[1])


def _check_of_others(
    model: SourcesFile, known: tuple[Fault, ...], around: Surroundings
) -> Iterator[Fault]:
    """Check the sources that have no fault yet; a check of the others would find what follows."""
    parts = {fault.path[:1] for fault in known}
    faulty = {fault.path[1] for fault in known if len(fault.path) > 1}
    others = {name: source for name, source in model.sources.items() if name not in faulty}
    if parts <= {("sources",), ("tables",)}:
        yield from check(model.model_copy(update={"sources": others}), around)


def _compiled(
    model: SourcesFile, merged: Merged
) -> tuple[Mapping[str, MappedSource], tuple[Fault, ...]]:
    sources: dict[str, MappedSource] = {}
    faults: list[Fault] = []
    for name, source in model.sources.items():
        compiled = compile_source(name, compilable(source), model.tables, merged.locate)
        if isinstance(compiled, tuple):
            faults += compiled
        else:
            sources[name] = compiled
    return sources, tuple(faults)


def _faults(merged: Merged, in_text: Faults, found: Iterable[Fault]) -> Faults:
    """Return all faults in the order of the file, without those that follow from one in the text.

    An alias, for example, has no value here, but that is not what its author did wrong.
    """
    known = {fault.place for fault in in_text}
    placed = map(merged.placed, found)
    return _limited((*in_text, *(fault for fault in placed if fault.place not in known)))


def _limited(faults: Iterable[PlacedFault]) -> Faults:
    """Return the faults in the order of the file; of very many, the first and how many follow."""
    ordered = sorted(set(faults))
    if len(ordered) <= FAULTS_MAX:
        return tuple(ordered)
    after = ordered[FAULTS_MAX]
    more = f"{len(ordered) - FAULTS_MAX} more faults from here on."
    return (*ordered[:FAULTS_MAX], PlacedFault(after.file, after.place, more))


def _in_text(name: str, faults: Iterable[TextFault]) -> Faults:
    return tuple(PlacedFault(name, fault.place, fault.message) for fault in faults)
