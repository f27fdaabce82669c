"""Which asset an item is about: its family and its code."""

from collections.abc import Callable

from service.contracts.text import flaw_of_name, shown
from service.mapping.compiler import Compiler
from service.mapping.data import Datum
from service.mapping.endings import ItemEndedError, UnmappableError
from service.mapping.faults import DocumentPath
from service.mapping.file.value import Value
from service.mapping.json_values import ABSENT
from service.mapping.scope import Scope
from service.mapping.values import ValueOf, compile_value, described

NameOf = Callable[[Scope], str]
"""Return a family code or an asset code; raise ItemEndedError if the event has none."""


def compile_family(
    value: Value, at: DocumentPath, compiler: Compiler, rule: str | None, *, may_lack: bool
) -> NameOf:
    """Return the function of the family; without one, the item is skipped if it `may_lack`."""
    where = compiler.where_in(rule, at)
    read = compile_value(value, "family", at, compiler)

    def no_family() -> ItemEndedError:
        message = "The event names no asset family"
        if may_lack:
            return ItemEndedError("skipped", "no_family", f"{message}.")
        return UnmappableError(f"{message} ({where})")

    return _name_of("family", read, where, no_family)


def compile_code(value: Value, at: DocumentPath, compiler: Compiler, rule: str | None) -> NameOf:
    """Return the function of the asset's code."""
    where = compiler.where_in(rule, at)
    read = compile_value(value, "code", at, compiler)

    def no_code() -> ItemEndedError:
        message = f"The event has no code: {described(value)} is absent or empty"
        return UnmappableError(f"{message} ({where})")

    return _name_of("code", read, where, no_code)


def _name_of(label: str, read: ValueOf, where: str, none: Callable[[], ItemEndedError]) -> NameOf:
    def name_of(scope: Scope) -> str:
        try:
            found = read(scope)
            if found is not ABSENT and found is not None:
                return _checked(found, label)
        except UnmappableError as error:
            raise UnmappableError(f"{label}: {error.message} ({where})") from None
        raise none()

    return name_of


def _checked(found: Datum, label: str) -> str:
    if not isinstance(found, str):
        raise UnmappableError("it must be one text")
    flaw = flaw_of_name(found)
    if flaw is not None:
        hint = "; `as: code` makes a code of any text" if label == "code" else ""
        raise UnmappableError(f"{shown(found)} {flaw}{hint}")
    return found
