"""Values: what a source gives, after its steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from service.mapping.compiler import Compiler
from service.mapping.conditions import compile_condition
from service.mapping.data import Datum, is_empty, read_datum, text_of_boolean, tidy
from service.mapping.faults import DocumentPath
from service.mapping.file.value import AttributeValue, Upload, Value
from service.mapping.json_values import ABSENT
from service.mapping.paths import compile_path
from service.mapping.scope import Scope
from service.mapping.steps import NamedStep, Step, compile_steps
from service.mapping.templates import TemplateOf, compile_template
from service.mapping.trace import Trace
from service.mapping.work import FREE_CHARACTERS, Work

ValueOf = Callable[[Scope], Datum]
"""Return the datum of a value: `ABSENT`, None where it is empty, or what is sent."""

Found = TypeVar("Found", str, list[str])

_RUN_WEIGHT = 10
"""A text that steps work on counts this often: RE2 is the most expensive of them."""


@dataclass(frozen=True, slots=True)
class ValueSource:
    """Where a value comes from: the function, and how a message names it."""

    read: ValueOf
    text: str


def compile_value(value: Value, label: str, at: DocumentPath, compiler: Compiler) -> ValueOf:
    """Return the function of a value; `label` names it in the trace."""
    source = _source_of(value, at, compiler)
    steps = compile_steps(value, at, compiler)
    if compiler.trace is None:
        made = _stepped(source.read, [step for _, step in steps]) if steps else source.read
    else:
        made = _traced(source, steps, label, compiler.where(at), compiler.trace)
    if value.has_default:
        made = _with_default(made, tidy(value.default))
    if compiler.trace is not None:
        made = _ending(made, compiler.trace)
    return made if value.when is None else _conditional(made, value, at, compiler)


def _conditional(made: ValueOf, value: Value, at: DocumentPath, compiler: Compiler) -> ValueOf:
    assert value.when is not None
    holds = compile_condition(value.when, (*at, "when"), compiler)
    return lambda scope: made(scope) if holds(scope) else ABSENT


def _with_default(made: ValueOf, default: Datum) -> ValueOf:
    def with_default(scope: Scope) -> Datum:
        found = made(scope)
        return default if found is ABSENT or is_empty(found) else found

    return with_default


def described(value: Value) -> str:
    """Return what a message calls the source of a value."""
    return value.path or " or ".join(value.first_of or ()) or value.template or "value"


# --- steps -----------------------------------------------------------------------------------


def _stepped(read: ValueOf, steps: Sequence[Step]) -> ValueOf:
    def stepped(scope: Scope) -> Datum:
        found = read(scope)
        if found is ABSENT or found is None:
            return found
        if isinstance(found, bool):
            found = text_of_boolean(found)
        if not isinstance(found, str) or len(found) > FREE_CHARACTERS:
            _count(found, scope.work)
        for of_text, of_list in steps:
            if not found:
                break
            if isinstance(found, str):
                found = of_text(found)
            elif isinstance(found, list):
                found = of_list(found)
        return (found.strip() or None) if isinstance(found, str) else tidy(found)

    return stepped


def _count(found: Datum, work: Work) -> None:
    if isinstance(found, str):
        work.spend_on(found, _RUN_WEIGHT)
    elif isinstance(found, list):
        work.spend(len(found))
        for element in found:
            if len(element) > FREE_CHARACTERS:
                work.spend_on(element, _RUN_WEIGHT)


def _traced(
    source: ValueSource, steps: Sequence[NamedStep], label: str, where: str, trace: Trace
) -> ValueOf:
    def begin(scope: Scope) -> Datum:
        found = source.read(scope)
        trace.begin(label, where, source.text, found)
        return found

    if not steps:
        return begin
    return _stepped(begin, [_noted(name, step, trace) for name, step in steps])


def _noted(name: str, step: Step, trace: Trace) -> Step:
    def noted(run: Callable[[Found], Datum]) -> Callable[[Found], Datum]:
        def run_noted(found: Found) -> Datum:
            made = run(found)
            trace.step(name, made)
            return made

        return run_noted

    of_text, of_list = step
    return noted(of_text), noted(of_list)


def _ending(made: ValueOf, trace: Trace) -> ValueOf:
    def ending(scope: Scope) -> Datum:
        found = made(scope)
        trace.end(found)
        return found

    return ending


# --- sources ---------------------------------------------------------------------------------


def _source_of(value: Value, at: DocumentPath, compiler: Compiler) -> ValueSource:
    """Return the one source that the value has."""
    if value.path is not None:
        return _from_path(value.path, (*at, "path"), compiler)
    if value.first_of is not None:
        return _first_of(value.first_of, (*at, "first_of"), compiler)
    if value.template is not None:
        fill = compile_template(value.template, (*at, "template"), compiler)
        return ValueSource(lambda scope: tidy(fill(scope)), value.template)
    if isinstance(value, AttributeValue) and value.file is not None:
        return ValueSource(_upload(value.file, (*at, "file"), compiler), value.file.url)
    constant = tidy(value.const)
    return ValueSource(lambda _scope: constant, "const")


def _from_path(text: str, at: DocumentPath, compiler: Compiler) -> ValueSource:
    parsed = compiler.parsed_path(text, at)
    if parsed is None:
        return ValueSource(lambda _scope: ABSENT, text)
    if parsed.member is not None:
        return ValueSource(_of_member(parsed.member, text), text)
    path = compile_path(parsed)

    def read(scope: Scope) -> Datum:
        found = path(scope)
        if isinstance(found, str) and len(found) <= FREE_CHARACTERS:
            return found.strip() or None
        return read_datum(found, text, scope.work)

    return ValueSource(read, text)


def _of_member(name: str, text: str) -> ValueOf:
    """Return the function of the usual path. It calls no other: there are so many of them."""

    def read_member(scope: Scope) -> Datum:
        start: Any = scope.start
        found = start.get(name, ABSENT) if start.__class__ is dict else ABSENT
        if isinstance(found, str) and len(found) <= FREE_CHARACTERS:
            return found.strip() or None
        return read_datum(found, text, scope.work)

    return read_member


def _first_of(texts: Sequence[str], at: DocumentPath, compiler: Compiler) -> ValueSource:
    """Return the first that is neither absent nor empty; if none, empty where one was empty."""
    readers = [_from_path(text, (*at, index), compiler).read for index, text in enumerate(texts)]

    def first(scope: Scope) -> Datum:
        last: Datum = ABSENT
        for read in readers:
            found = read(scope)
            if found is not ABSENT and found is not None:
                return found
            if found is None:
                last = None
        return last

    return ValueSource(first, " or ".join(texts))


def _upload(upload: Upload, at: DocumentPath, compiler: Compiler) -> ValueOf:
    """Return the function of a file: it is absent or empty where its URL is."""
    url = _text_or_template(upload.url, (*at, "url"), compiler)
    others = {
        name: _text_or_template(text, (*at, name), compiler)
        for name, text in (("name", upload.name), ("sha256", upload.sha256))
        if text is not None
    }

    def file(scope: Scope) -> Datum:
        address = url(scope)
        if not isinstance(address, str):
            return address
        made = {"url": address}
        for name, fill in others.items():
            found = fill(scope)
            if isinstance(found, str):
                made[name] = found
        return made

    return file


def _text_or_template(text: str, at: DocumentPath, compiler: Compiler) -> TemplateOf:
    """Return the function of a text that is a template if it has braces, and a path otherwise."""
    template = text if "{" in text else f"{{{text}}}"
    return compile_template(template, at, compiler)
