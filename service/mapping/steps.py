"""The steps of a value, from a text to a text, in the order in which they always run.

Rule 1: a step sees one text; for a list it runs on each element. What is absent afterwards falls
out, and a list of which nothing is left is absent.
Rule 2: absent and empty values reach no step.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import unquote_plus

from service.contracts.text import clip, shown
from service.mapping import codes, dates, numbers
from service.mapping.compiler import Compiler
from service.mapping.data import Datum
from service.mapping.endings import UnmappableError
from service.mapping.faults import DocumentPath, FaultError, did_you_mean
from service.mapping.file.value import TableRef, Value
from service.mapping.json_values import ABSENT
from service.mapping.patterns import Match, Pattern, group_text
from service.mapping.templates import split_template

OfText = Callable[[str], Datum]
OfList = Callable[[list[str]], Datum]

Step = tuple[OfText, OfList]
"""What a step makes of a text, and of a list."""

NamedStep = tuple[str, Step]

_TRUE = frozenset({"true", "1", "yes", "y", "on"})
_FALSE = frozenset({"false", "0", "no", "n", "off"})


def compile_steps(value: Value, at: DocumentPath, compiler: Compiler) -> list[NamedStep]:
    """Return the steps that the value has, by name, in their order."""
    steps: list[NamedStep] = []
    for names, build in _STEPS:
        if any(getattr(value, name) is not None for name in names):
            with compiler.noting_faults((*at, _key(names[0]))):
                steps.append((_key(names[0]), build(value, compiler)))
    return steps


def _key(field: str) -> str:
    return field.rstrip("_")  # `as_`: the key is a word of Python


def _on_each(of_text: OfText) -> Step:
    def on_each(found: list[str]) -> Datum:
        made: list[str] = []
        for element in found:
            result = of_text(element)
            if isinstance(result, list):
                made.extend(result)
            elif isinstance(result, str) and result:
                made.append(result)
        return made or ABSENT

    return of_text, on_each


def _decode(_value: Value, _compiler: Compiler) -> Step:
    return _on_each(_decode_url)


def _decode_url(text: str) -> str:
    """Return the decoded text.

    Raise UnmappableError if it is not UTF-8: with a character in place of what cannot be read, two
    ids could become one.
    """
    if "%" not in text:
        return text.replace("+", " ")
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise UnmappableError(f"the %xx of {shown(text)} are not UTF-8") from None


# --- parts of a text -------------------------------------------------------------------------


def _part(value: Value, _compiler: Compiler) -> Step:
    assert value.part is not None
    return _on_each(_PARTS[value.part])


def _name(path: str) -> Datum:
    return path.rpartition("/")[2] or ABSENT


def _folder(path: str) -> Datum:
    return path.rpartition("/")[0] or ABSENT


def _top(path: str) -> Datum:
    return path.lstrip("/").partition("/")[0] or ABSENT


def _stem(path: str) -> Datum:
    return _split_extension(path)[0] or ABSENT


def _extension(path: str) -> Datum:
    return _split_extension(path)[1] or ABSENT


def _split_extension(path: str) -> tuple[str, str]:
    """Return stem and extension; a name that begins with its only dot has no extension."""
    name = path.rpartition("/")[2]
    stem, _, extension = name.rpartition(".")
    return (stem, extension) if stem else (name, "")


_PARTS: Mapping[str, OfText] = {
    "name": _name,
    "stem": _stem,
    "extension": _extension,
    "folder": _folder,
    "top": _top,
}


def _extract(value: Value, _compiler: Compiler) -> Step:
    assert value.extract is not None
    pattern = Pattern(value.extract)
    give = _giving(value.give, pattern)
    search = pattern.search

    def extract(text: str) -> Datum:
        match = search(text.encode())
        return ABSENT if match is None else give(match)

    return _on_each(extract)


def _giving(template: str | None, pattern: Pattern) -> Callable[[Match], Datum]:
    """Return a function that gives the first group, the whole match, or the filled template."""
    if template is None:
        return lambda match: _or_absent(group_text(match, min(pattern.groups, 1)))
    parts = split_template(template)
    for part, is_group in parts:
        if is_group and part not in pattern.names:
            raise FaultError(f"`extract` has no group `{part}`: name it (?P<{part}>…) there.")
    return lambda match: "".join(_filled(parts, match))


def _or_absent(text: str | None) -> Datum:
    return ABSENT if text is None else text


def _filled(parts: Iterable[tuple[str, bool]], match: Match) -> Iterable[str]:
    return ((group_text(match, part) or "") if is_group else part for part, is_group in parts)


# --- changes of a text -----------------------------------------------------------------------


def _strip_prefix(value: Value, _compiler: Compiler) -> Step:
    prefix = value.strip_prefix
    assert prefix is not None
    return _on_each(lambda text: text.removeprefix(prefix))


def _strip_suffix(value: Value, _compiler: Compiler) -> Step:
    suffix = value.strip_suffix
    assert suffix is not None
    return _on_each(lambda text: text.removesuffix(suffix))


def _replace(value: Value, _compiler: Compiler) -> Step:
    assert value.replace is not None
    pairs = tuple(value.replace.items())
    if any(not old for old, _ in pairs):
        raise FaultError("An empty text cannot be replaced.")

    def replace(text: str) -> str:
        for old, new in pairs:
            text = text.replace(old, new)
        return text

    return _on_each(replace)


def _split(value: Value, _compiler: Compiler) -> Step:
    separator = value.split
    assert separator is not None

    def split(text: str) -> Datum:
        return [part for each in text.split(separator) if (part := each.strip())] or ABSENT

    return _on_each(split)


def _table(value: Value, compiler: Compiler) -> Step:
    assert value.table is not None
    entries = _entries(value.table, compiler)
    otherwise = _OTHERWISE[value.otherwise]

    def look_up(text: str) -> Datum:
        found = entries.get(text)
        return otherwise(text) if found is None else found

    return _on_each(look_up)


def _entries(table: TableRef, compiler: Compiler) -> Mapping[str, str | list[str]]:
    if table.inline is not None:
        return table.inline
    assert table.name is not None
    if table.name not in compiler.tables:
        raise FaultError(
            f"There is no table `{table.name}`. {did_you_mean(table.name, compiler.tables)}"
        )
    return compiler.tables[table.name]


def _reject(text: str) -> Datum:
    raise UnmappableError(f"{shown(text)} is not in its table")


_OTHERWISE: Mapping[str, OfText] = {
    "reject": _reject,
    "drop": lambda _text: ABSENT,
    "keep": lambda text: text,
}


def _case(value: Value, _compiler: Compiler) -> Step:
    return _on_each(str.lower if value.case == "lower" else str.upper)


def _calculate(value: Value, _compiler: Compiler) -> Step:
    return _on_each(numbers.calculation(value.multiply, value.decimals))


def _date(value: Value, _compiler: Compiler) -> Step:
    assert value.date is not None
    return _on_each(dates.conversion(value.date, value.zone))


# --- types -----------------------------------------------------------------------------------


def _as(value: Value, _compiler: Compiler) -> Step:
    assert value.as_ is not None
    return _TYPES[value.as_]


def _slug(text: str) -> Datum:
    slug = codes.slug_of(text)
    if not slug:
        raise UnmappableError(f"{shown(text)} has no letter or digit for a slug: use a table")
    return slug


def _number(text: str) -> Datum:
    numbers.read_number(text)
    return text


def _boolean(text: str) -> Datum:
    word = text.casefold()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise UnmappableError(f"{shown(text)} is neither true nor false")


def _no_boolean(_texts: list[str]) -> Datum:
    raise UnmappableError("a list is neither true nor false")


_TYPES: Mapping[str, Step] = {
    "code": _on_each(codes.code_of),
    "slug": _on_each(_slug),
    "text": _on_each(lambda text: text),
    "number": _on_each(_number),
    "boolean": (_boolean, _no_boolean),
    "list": (lambda text: [text], lambda texts: texts),
}


# --- the end ---------------------------------------------------------------------------------


def _join(value: Value, _compiler: Compiler) -> Step:
    separator = value.join
    assert separator is not None
    return lambda text: text, lambda texts: separator.join(dict.fromkeys(texts))


def _cut(value: Value, _compiler: Compiler) -> Step:
    characters_max = value.cut
    assert characters_max is not None
    return _on_each(lambda text: clip(text, characters_max))


_STEPS: Sequence[tuple[tuple[str, ...], Callable[[Value, Compiler], Step]]] = (
    (("decode",), _decode),
    (("part",), _part),
    (("extract",), _extract),
    (("strip_prefix",), _strip_prefix),
    (("strip_suffix",), _strip_suffix),
    (("replace",), _replace),
    (("split",), _split),
    (("table",), _table),
    (("case",), _case),
    (("multiply", "decimals"), _calculate),
    (("date",), _date),
    (("as_",), _as),
    (("join",), _join),
    (("cut",), _cut),
)
"""By the fields that ask for the step: the order of docs/sources.md."""
