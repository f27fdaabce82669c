"""Conditions: what the values of paths are compared with.

Rule 1: a text, a number and a boolean are never equal to one another.
Rule 2: a list in the event passes where one of its elements passes all comparisons; `exists` and
`not` look at the list as a whole.
Rule 3: null counts as a value that does not exist.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeGuard

from service.mapping.compiler import Compiler
from service.mapping.faults import DocumentPath
from service.mapping.file.condition import Comparison, Condition
from service.mapping.json_values import ABSENT
from service.mapping.patterns import WEIGHT, Pattern
from service.mapping.scope import Path, Scope
from service.mapping.work import FREE_CHARACTERS

Test = Callable[[object], bool]
"""A comparison with the value of a path, which may be `ABSENT`."""

Holds = Callable[[Scope], bool]


def compile_condition(condition: Condition, at: DocumentPath, compiler: Compiler) -> Holds:
    """Return a function that tells whether one of the alternatives holds."""
    alternatives = [
        _all_hold(
            [
                (
                    compiler.located_path(path, (*at, index, path)),
                    _of(comparison, (*at, index, path), compiler),
                )
                for path, comparison in alternative.items()
            ]
        )
        for index, alternative in enumerate(condition)
    ]
    if len(alternatives) == 1:
        return alternatives[0]
    return lambda scope: any(holds(scope) for holds in alternatives)


def compile_optional(
    condition: Condition | None, at: DocumentPath, compiler: Compiler
) -> Holds | None:
    """Return the function of a condition that need not be there."""
    return None if condition is None else compile_condition(condition, at, compiler)


def _all_hold(tests: Sequence[tuple[Path, Test]]) -> Holds:
    if len(tests) == 1:
        return _holds(*tests[0])

    def all_hold(scope: Scope) -> bool:
        for path, test in tests:
            found = path(scope)
            if not isinstance(found, str) or len(found) > FREE_CHARACTERS:
                _count(found, scope)
            if not test(found):
                return False
        return True

    return all_hold


def _holds(path: Path, test: Test) -> Holds:
    def holds(scope: Scope) -> bool:
        found = path(scope)
        if not isinstance(found, str) or len(found) > FREE_CHARACTERS:
            _count(found, scope)
        return test(found)

    return holds


def _count(found: object, scope: Scope) -> None:
    if isinstance(found, str):
        scope.work.spend_on(found, WEIGHT)
    elif isinstance(found, list):
        scope.work.spend(len(found))
        for element in found:
            if isinstance(element, str):
                scope.work.spend_on(element, WEIGHT)


def _of(comparison: Comparison, at: DocumentPath, compiler: Compiler) -> Test:
    if comparison.model_fields_set == {"equals"}:
        return _equals(_wanted(comparison))
    return _combined(comparison, at, compiler, ignore_case=comparison.ignore_case)


def _wanted(comparison: Comparison) -> Sequence[object]:
    return [None] if comparison.equals is None else comparison.equals


def _equals(wanted: Sequence[object]) -> Test:
    """Return the usual test: equal to one of some scalars."""
    if len(wanted) == 1 and isinstance(wanted[0], str):
        return _equals_text(wanted[0])
    texts = frozenset(each for each in wanted if isinstance(each, str))
    others = tuple(each for each in wanted if not isinstance(each, str))

    def equals(found: object) -> bool:
        if isinstance(found, str):
            return found in texts
        if isinstance(found, list):
            return any(map(equals_one, found))
        return equals_one(found)

    def equals_one(found: object) -> bool:
        if isinstance(found, str):
            return found in texts
        return any(_same(found, each) for each in others)

    return equals


def _equals_text(text: str) -> Test:
    return lambda found: text in found if isinstance(found, list) else found == text


def _same(found: object, wanted: object) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    return found == wanted and not isinstance(found, (list, dict))


def _combined(
    comparison: Comparison, at: DocumentPath, compiler: Compiler, *, ignore_case: bool
) -> Test:
    of_one = list(_tests_of_one(comparison, at, compiler, ignore_case=ignore_case))
    of_all: list[Test] = []
    if (exists := comparison.exists) is not None:
        of_all.append(lambda found: (found is not ABSENT and found is not None) is exists)
    if comparison.not_ is not None:
        refused = _refused(comparison.not_, (*at, "not"), compiler, ignore_case=ignore_case)
        of_all.append(lambda found: not refused(found))

    if len(of_one) == 1 and not of_all:
        return _passes_one(of_one[0])
    if len(of_all) == 1 and not of_one:
        return of_all[0]

    def passes(found: object) -> bool:
        return all(test(found) for test in of_one)

    def combined(found: object) -> bool:
        if not all(test(found) for test in of_all):
            return False
        if of_one and isinstance(found, list):
            return any(map(passes, found))
        return passes(found)

    return combined


def _passes_one(test: Test) -> Test:
    """Return the usual test: a value, or one element of a list, passes the only comparison."""
    return lambda found: any(map(test, found)) if isinstance(found, list) else test(found)


def _refused(inner: Comparison, at: DocumentPath, compiler: Compiler, *, ignore_case: bool) -> Test:
    return _combined(inner, at, compiler, ignore_case=inner.ignore_case or ignore_case)


def _tests_of_one(
    comparison: Comparison, at: DocumentPath, compiler: Compiler, *, ignore_case: bool
) -> Iterable[Test]:
    fold: Callable[[str], str] = str.casefold if ignore_case else str
    if "equals" in comparison.model_fields_set:
        yield _equals_folded(_wanted(comparison), fold)
    if comparison.prefix is not None:
        yield _begins(tuple(map(fold, comparison.prefix)), fold)
    if comparison.suffix is not None:
        yield _ends(tuple(map(fold, comparison.suffix)), fold)
    if comparison.contains is not None:
        yield _contains(tuple(map(fold, comparison.contains)), fold)
    if comparison.matches is not None:
        yield _matches(comparison.matches, (*at, "matches"), compiler, ignore_case=ignore_case)
    if (least := comparison.above) is not None:
        yield lambda found: _is_number(found) and found > least
    if (most := comparison.below) is not None:
        yield lambda found: _is_number(found) and found < most


def _equals_folded(wanted: Sequence[object], fold: Callable[[str], str]) -> Test:
    equals = _equals([fold(each) if isinstance(each, str) else each for each in wanted])
    return lambda found: equals(fold(found) if isinstance(found, str) else found)


def _begins(prefixes: tuple[str, ...], fold: Callable[[str], str]) -> Test:
    return lambda found: isinstance(found, str) and fold(found).startswith(prefixes)


def _ends(suffixes: tuple[str, ...], fold: Callable[[str], str]) -> Test:
    return lambda found: isinstance(found, str) and fold(found).endswith(suffixes)


def _contains(parts: tuple[str, ...], fold: Callable[[str], str]) -> Test:
    def contains(found: object) -> bool:
        if not isinstance(found, str):
            return False
        folded = fold(found)
        return any(part in folded for part in parts)

    return contains


def _matches(
    texts: Sequence[str], at: DocumentPath, compiler: Compiler, *, ignore_case: bool
) -> Test:
    patterns: list[Pattern] = []
    for index, text in enumerate(texts):
        with compiler.noting_faults((*at, index)):
            patterns.append(Pattern(text, ignore_case=ignore_case))
    return lambda found: isinstance(found, str) and any(each.found_in(found) for each in patterns)


def _is_number(found: object) -> TypeGuard[float]:
    return isinstance(found, (int, float)) and not isinstance(found, bool)
