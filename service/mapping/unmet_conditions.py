"""Why no rule takes an event: for each condition, the first comparison that does not hold."""

from collections.abc import Iterator
from dataclasses import dataclass

from service.mapping.compile import compile_source
from service.mapping.compiler import Compiler
from service.mapping.conditions import compile_condition
from service.mapping.endings import EarlyEndError
from service.mapping.file.condition import Comparison, Condition
from service.mapping.file.load import Loaded
from service.mapping.items import items_of
from service.mapping.json_values import ABSENT
from service.mapping.results import RawRecord
from service.mapping.samples import json_of
from service.mapping.scope import Scope
from service.mapping.source import CompiledSource
from service.mapping.work import Work


@dataclass(frozen=True, slots=True)
class UnmetComparison:
    """A comparison that does not hold.

    Attributes:
        condition: `where`, `only`, or the name of the rule whose `when` it belongs to.
        path: The path that is compared.
        found: What the path found; `ABSENT` if the event has nothing there.
        wanted: What it is compared with, as in the file.
    """

    condition: str
    path: str
    found: object
    wanted: str


def unmet_comparisons(loaded: Loaded, source: str, record: RawRecord) -> Iterator[UnmetComparison]:
    """Yield the first unmet comparison of each alternative of each condition of the source.

    With `for_each` at the source, the first item is looked at. Yield nothing for a record that is
    not an event.
    """
    model = loaded.model.sources[source]
    compiler = Compiler(loaded.model.tables, loaded.merged.locate, None)
    conditions: list[tuple[str, Condition | None]] = [("where", model.where), ("only", model.only)]
    conditions += [
        (f"rule {rule.name or index + 1}", rule.when) for index, rule in enumerate(model.rules)
    ]
    try:
        scope = _scope(loaded, source, record)
        for name, condition in conditions:
            for alternative in condition or ():
                yield from _first_unmet(name, alternative, scope, compiler)
    except EarlyEndError:
        return


def _scope(loaded: Loaded, source: str, record: RawRecord) -> Scope:
    compiled = compile_source(
        source, loaded.model.sources[source], loaded.model.tables, loaded.merged.locate
    )
    assert isinstance(compiled, CompiledSource)  # it was compiled without fault
    opened = compiled.open(record)
    event = opened.event or {}
    scope = Scope(event, event, event, opened.key, opened.record, ABSENT, Work())
    if compiled.items is None:
        return scope
    items = items_of(compiled.items.path(scope), compiled.items.text)
    return scope.of_item(items[0]) if items else scope


def _first_unmet(
    name: str, alternative: dict[str, Comparison], scope: Scope, compiler: Compiler
) -> Iterator[UnmetComparison]:
    for path, comparison in alternative.items():
        if not compile_condition([{path: comparison}], (), compiler)(scope):
            found = compiler.path(path, ())(scope)
            yield UnmetComparison(name, path, found, _as_written(comparison))
            return


def _as_written(comparison: Comparison) -> str:
    """Return a comparison as JSON, a list of one element as that element."""
    given = comparison.model_dump(by_alias=True, exclude_unset=True)
    short = {key: value[0] if _is_single(value) else value for key, value in given.items()}
    return json_of(short["equals"] if set(short) == {"equals"} else short).decode()


def _is_single(value: object) -> bool:
    return isinstance(value, list) and len(value) == 1
