"""What the `event` paths of a source say. They never end an item: what they lack is left out."""

from collections.abc import Callable

from service.contracts.text import clip
from service.mapping.compiler import Compiler
from service.mapping.dates import event_time
from service.mapping.endings import EarlyEndError
from service.mapping.faults import DocumentPath
from service.mapping.file.model import EventPaths
from service.mapping.json_values import text_of_number
from service.mapping.results import NO_FACTS, EventFacts
from service.mapping.scope import Scope

CHARACTERS_MAX = 1_000
"""Most characters of a fact; the rest is cut off."""

_NAMES = ("id", "type", "source", "subject", "time")

FactsOf = Callable[[Scope], EventFacts]


def compile_facts(event: EventPaths, at: DocumentPath, compiler: Compiler) -> FactsOf:
    """Return a function that reads the facts."""
    paths = [
        (index, compiler.path(text, (*at, name)))
        for index, name in enumerate(_NAMES)
        if (text := getattr(event, name)) is not None
    ]
    if not paths:
        return lambda _scope: NO_FACTS

    def facts_of(scope: Scope) -> EventFacts:
        facts: list[str | None] = [None, None, None, None, None]
        for index, path in paths:
            try:
                found = path(scope)
            except EarlyEndError:
                continue
            if isinstance(found, str) and 0 < len(found) <= CHARACTERS_MAX:
                facts[index] = found
            else:
                facts[index] = _text(found)
        event_id, kind, source, subject, time = facts
        return EventFacts(event_id, kind, source, subject, time and event_time(time))

    return facts_of


def _text(found: object) -> str | None:
    if isinstance(found, str):
        return clip(found, CHARACTERS_MAX) or None
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return text_of_number(found)
    return None
