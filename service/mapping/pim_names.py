"""The names of the PIM that a source uses: families, attributes, locales, channels and options.

Only what the file itself names is known: a family that is copied from the event is not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from service.mapping.faults import DocumentPath
from service.mapping.file.model import AttributeValue, Instead, Rule, Source, Value

Codes = frozenset[str] | None
"""All codes that a value can give; None means that they come from the event."""
Table = Mapping[str, str | list[str]]

_CHANGING = frozenset({"case", "multiply", "decimals", "date", "as_", "join", "cut"})
"""Steps after the table, which make another text of what it gave."""


@dataclass(frozen=True, slots=True)
class FamilyUse:
    """Families that a rule writes to or deletes from, and where they are named."""

    families: Codes
    at: DocumentPath


@dataclass(frozen=True, slots=True)
class AttributeUse:
    """A value of an attribute that a rule writes.

    Attributes:
        families: The families that it is written to.
        attribute: The code of the attribute.
        locales: The locales; an empty set means that it names none.
        channels: The channels; an empty set means that it names none.
        options: What is written, which are option codes if the attribute has options.
        at: Where it stands in the file.
    """

    families: Codes
    attribute: str
    locales: Codes
    channels: Codes
    options: Codes
    at: DocumentPath


def uses_of(
    name: str, source: Source, tables: Mapping[str, Table]
) -> Iterator[FamilyUse | AttributeUse]:
    """Yield every use of the PIM's names by the rules of a source; some are yielded repeatedly."""
    for index, rule in enumerate(source.rules):
        yield from _uses_of_rule(("sources", name), source, index, rule, tables)


def _uses_of_rule(
    at: DocumentPath, source: Source, index: int, rule: Rule, tables: Mapping[str, Table]
) -> Iterator[FamilyUse | AttributeUse]:
    here = (*at, "rules", index)
    action = {"delete": source.on_delete, "archive": source.on_archive}.get(rule.do, rule.do)
    if action == "skip" or rule.do == "reject":
        return
    if action == "delete" and (listed := rule.families or source.families):
        yield FamilyUse(frozenset(listed), (*(here if rule.families else at), "families"))
        return
    family = rule.family or source.family
    assert family is not None  # the checks of the file refuse this
    families = _codes(family, tables)
    yield FamilyUse(families, (*(here if rule.family else at), "family"))
    if isinstance(action, Instead):
        yield from _constants(families, action.set, (*at, f"on_{rule.do}", "set"))
    elif action == "upsert":
        values = rule.values or source.values or {}
        where = (*(here if rule.values else at), "values")
        for attribute, entries in values.items():
            for number, entry in enumerate(entries):
                yield _attribute(families, attribute, entry, (*where, attribute, number), tables)
        yield from _constants(families, rule.set or {}, (*here, "set"))


def _attribute(
    families: Codes,
    attribute: str,
    value: AttributeValue,
    at: DocumentPath,
    tables: Mapping[str, Table],
) -> AttributeUse:
    none: Codes = frozenset()
    return AttributeUse(
        families,
        attribute,
        none if value.locale is None else _codes(value.locale, tables),
        none if value.channel is None else _codes(value.channel, tables),
        _codes(value, tables),
        at,
    )


def _constants(
    families: Codes, values: Mapping[str, object], at: DocumentPath
) -> Iterator[AttributeUse]:
    none: frozenset[str] = frozenset()
    for attribute, value in values.items():
        yield AttributeUse(families, attribute, none, none, _texts(value), (*at, attribute))


def _codes(value: Value, tables: Mapping[str, Table]) -> Codes:
    """Return all texts that the value can give, if the file itself names them."""
    given = _given(value, tables)
    if given is None or value.model_fields_set & _CHANGING:
        return None
    return given | (_texts(value.default) if value.has_default else frozenset())


def _given(value: Value, tables: Mapping[str, Table]) -> Codes:
    if value.table is not None and value.otherwise != "keep":
        table = value.table.inline or tables[value.table.name or ""]
        return frozenset().union(*(_texts(target) for target in table.values()))
    return _texts(value.const) if value.has_const else None


def _texts(value: object) -> frozenset[str]:
    texts = value if isinstance(value, list) else [value]
    return frozenset(text for text in texts if isinstance(text, str))
