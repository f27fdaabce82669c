"""The values of one attribute: entries by locale and channel.

Rule 1: what an absent value means is decided here (`missing`), for each entry.
Rule 2: an erasure of what is absent gives way to a value of the same locale and channel; two
different values for them are unmappable.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from service.mapping.compiler import Compiler
from service.mapping.conditions import Holds, compile_optional
from service.mapping.data import Datum, tidy
from service.mapping.endings import ItemEndedError, UnmappableError
from service.mapping.faults import DocumentPath
from service.mapping.file.value import AttributeValue, Missing, Value
from service.mapping.items import items_of
from service.mapping.json_values import ABSENT
from service.mapping.scope import Path, Scope
from service.mapping.values import ValueOf, compile_value, described

STEPS_PER_ENTRY = 8
"""The work of one item of `each`: its locale, its channel and its value."""

Fill = Callable[[Scope, dict[str, object]], None]
"""Put the attribute's values into the values of a change, if the event has any."""

Scoped = tuple[str | None, str | None]
"""A locale and a channel."""

CodeOf = Callable[[Scope], str | None]
"""Return a locale or channel; raise _LeftOutError where its table drops it."""


class _LeftOutError(Exception):
    """The table of a locale or channel drops the entry."""


@dataclass(frozen=True, slots=True)
class Codes:
    """How a locale or a channel is found, and all that are possible (None: nobody knows them)."""

    of: CodeOf
    all: tuple[str | None, ...] | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A value in the file, compiled."""

    read: ValueOf
    path: str
    missing: Missing
    locale: Codes
    channel: Codes
    when: Holds | None
    each: Path | None
    items_path: str


def compile_attribute(
    attribute: str,
    values: Sequence[AttributeValue],
    missing: Missing,
    at: DocumentPath,
    compiler: Compiler,
    rule: str | None,
) -> Fill:
    """Return the function that fills in an attribute; `missing` is the default of its values."""
    where = compiler.where_in(rule, at)
    entries = [
        _compile_entry(attribute, value, value.missing or missing, (*at, index), compiler)
        for index, value in enumerate(values)
    ]
    if len(entries) == 1 and _is_usual(values[0], entries[0]):
        return _usual(attribute, entries[0], where)
    return _careful(attribute, entries, where)


def _located(attribute: str, error: UnmappableError, where: str) -> UnmappableError:
    return UnmappableError(f"{attribute}: {error.message} ({where})")


def _compile_entry(
    attribute: str, value: AttributeValue, missing: Missing, at: DocumentPath, compiler: Compiler
) -> Entry:
    plain = value.model_copy(update={"when": None})
    locale, channel = f"{attribute}.locale", f"{attribute}.channel"
    return Entry(
        read=compile_value(plain, attribute, at, compiler),
        path=described(value),
        missing=missing,
        locale=_compile_codes(value.locale, locale, (*at, "locale"), compiler),
        channel=_compile_codes(value.channel, channel, (*at, "channel"), compiler),
        when=compile_optional(value.when, (*at, "when"), compiler),
        each=None if value.each is None else compiler.path(value.each, (*at, "each")),
        items_path=value.each or "",
    )


# --- locales and channels --------------------------------------------------------------------


def _compile_codes(value: Value | None, label: str, at: DocumentPath, compiler: Compiler) -> Codes:
    if value is None:
        return Codes(lambda _scope: None, (None,))
    if isinstance(value.const, str):
        code = value.const
        return Codes(lambda _scope: code, (code,))
    made = compile_value(value, label, at, compiler)
    return Codes(_code_of(made, label), _targets(value, compiler))


def _code_of(read: ValueOf, label: str) -> CodeOf:
    def code_of(scope: Scope) -> str | None:
        found = read(scope)
        if found is ABSENT:
            raise _LeftOutError
        if found is None or isinstance(found, str):
            return found
        raise UnmappableError(f"{label} must be one text")

    return code_of


def _targets(value: Value, compiler: Compiler) -> tuple[str | None, ...] | None:
    """Return all codes that the value's table gives, or None if it has no table."""
    if value.table is None:
        return None
    table = value.table.inline or compiler.tables.get(value.table.name or "", {})
    targets = (target if isinstance(target, list) else [target] for target in table.values())
    return tuple(dict.fromkeys(itertools.chain.from_iterable(targets)))


# --- the usual attribute ---------------------------------------------------------------------


def _is_usual(value: AttributeValue, entry: Entry) -> bool:
    """Return whether it is one value for one locale and channel that are known."""
    if entry.when is not None or entry.each is not None:
        return False
    scopes = (value.locale, value.channel)
    return all(scope is None or isinstance(scope.const, str) for scope in scopes)


def _usual(attribute: str, entry: Entry, where: str) -> Fill:
    read, path, missing = entry.read, entry.path, entry.missing
    shape = _shape_of(*(entry.locale.all or ()), *(entry.channel.all or ()))

    def fill(scope: Scope, made: dict[str, object]) -> None:
        try:
            found = read(scope)
            if found is ABSENT:
                if missing == "leave":
                    return
                _absent(missing, path)
                found = None
        except UnmappableError as error:
            raise _located(attribute, error, where) from None
        made[attribute] = [{**shape, "data": found}] if shape else found

    return fill


def _shape_of(locale: str | None, channel: str | None) -> dict[str, object]:
    given = (("locale", locale), ("channel", channel))
    return {name: code for name, code in given if code is not None}


def _absent(missing: Missing, path: str) -> None:
    """Raise what `missing` says; return if the value is to be erased."""
    match missing:
        case "erase":
            return
        case "reject":
            raise UnmappableError(f"the event has no {path}")
        case "skip":
            raise ItemEndedError("skipped", "not_selected", f"The event has no {path}.")
        case "leave":
            raise AssertionError
    assert_never(missing)


# --- several values --------------------------------------------------------------------------


class _Entries:
    """Collects the data of one attribute by locale and channel."""

    __slots__ = ("_erased", "_found")

    def __init__(self) -> None:
        self._found: dict[Scoped, Datum] = {}
        self._erased: dict[Scoped, None] = {}

    def add(self, scoped: Scoped, datum: Datum) -> None:
        if scoped in self._found and self._found[scoped] != datum:
            locale, channel = scoped
            raise UnmappableError(
                f"two different values for locale {locale or 'null'} and channel "
                f"{channel or 'null'}"
            )
        self._found[scoped] = datum

    def erase(self, scoped: Scoped) -> None:
        self._erased[scoped] = None

    def shaped(self) -> object:
        """Return the values in the shape of contract.md §4; None in a list erases."""
        found = self._found | {key: None for key in self._erased if key not in self._found}
        if list(found) == [(None, None)]:
            return found[None, None]
        return [{**_shape_of(*scoped), "data": datum} for scoped, datum in found.items()]


def _careful(attribute: str, entries: Sequence[Entry], where: str) -> Fill:
    def fill(scope: Scope, made: dict[str, object]) -> None:
        collected = _Entries()
        try:
            for entry in entries:
                if entry.when is None or entry.when(scope):
                    _collect(entry, scope, collected)
        except UnmappableError as error:
            raise _located(attribute, error, where) from None
        shaped = collected.shaped()
        if shaped != []:
            made[attribute] = shaped

    return fill


def _collect(entry: Entry, scope: Scope, collected: _Entries) -> None:
    if entry.each is None:
        _collect_one(entry, scope, collected)
        return
    found = entry.each(scope)
    if isinstance(found, (list, dict)):
        scope.work.spend(len(found) * STEPS_PER_ENTRY)
    items = items_of(found, entry.items_path)
    for item in items:
        _collect_one(entry, scope.starting_at(item), collected)
    if found is not ABSENT and not items:  # empty, not absent
        _erase_all(entry, collected)
    elif entry.missing == "erase" or not items:
        _collect_absent(entry, collected)


def _collect_one(entry: Entry, scope: Scope, collected: _Entries) -> None:
    try:
        scoped = (entry.locale.of(scope), entry.channel.of(scope))
    except _LeftOutError:
        return
    datum = entry.read(scope)
    if datum is not ABSENT:
        collected.add(scoped, datum)
    elif entry.missing != "leave":
        _absent(entry.missing, entry.path)
        collected.erase(scoped)


def _collect_absent(entry: Entry, collected: _Entries) -> None:
    """Erase all locales of the table that no item had, or do what else `missing` says."""
    if entry.missing != "leave":
        _absent(entry.missing, entry.items_path)
        _erase_all(entry, collected)


def _erase_all(entry: Entry, collected: _Entries) -> None:
    for scoped in itertools.product(entry.locale.all or (), entry.channel.all or ()):
        collected.erase(scoped)


def constants(given: Mapping[str, Datum]) -> dict[str, object]:
    """Return constants as the values of a change; an empty list or text erases."""
    return {attribute: tidy(found) for attribute, found in given.items()}
