"""What the `event` paths of a source say. They never end an item: what they lack is left out."""

from collections.abc import Callable

from service.contracts.text import clip
from service.mapping.compiler import Compiler
from service.mapping.dates import event_time
from service.mapping.endings import EndedError
from service.mapping.faults import DocumentPath
from service.mapping.file.model import EventPaths
from service.mapping.json_values import text_of_number
from service.mapping.results import NO_FACTS, EventFacts
from service.mapping.scope import Path, Scope

CHARACTERS_MAX = 1_000
"""Most characters of a fact; the rest is cut off."""

FactsOf = Callable[[Scope], EventFacts]


def compile_facts(event: EventPaths, at: DocumentPath, compiler: Compiler) -> FactsOf:
    """Return a function that reads the facts."""
    paths = [
        None if text is None else compiler.path(text, (*at, name))
        for name in ("id", "type", "source", "subject", "time")
        for text in (getattr(event, name),)
    ]
    if not any(paths):
        return lambda _scope: NO_FACTS

    def facts_of(scope: Scope) -> EventFacts:
        event_id, kind, source, subject, time = [
            None if path is None else _text(path, scope) for path in paths
        ]
        return EventFacts(
            event_id, kind, source, subject, None if time is None else event_time(time)
        )

    return facts_of


def _text(path: Path, scope: Scope) -> str | None:
    try:
        found = path(scope)
    except EndedError:
        return None
    if isinstance(found, str):
        return found if 0 < len(found) <= CHARACTERS_MAX else clip(found, CHARACTERS_MAX) or None
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return text_of_number(found)
    return None
