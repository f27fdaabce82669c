"""Conditions: types count, lists pass by one element, all given comparisons hold."""

from typing import Any

import pytest

from service.mapping.results import Change
from tests.support.mapping import ended, faults, parts_of


def holds(condition: object, event: object) -> bool:
    """Return whether a rule with this condition takes the event."""
    (part,) = parts_of({"rules": [{"do": "upsert", "when": condition}]}, event)
    return isinstance(part, Change)


@pytest.mark.parametrize(
    ("test", "passes", "fails"),
    [
        ("red", ["red", ["blue", "red"]], ["Red", "redd", None, 1, ["Red"], {"red": 1}, []]),
        (["a", "b"], ["a", "b", ["x", "b"]], ["c", None, ["x"], 1]),
        (1, [1, 1.0, [2, 1]], ["1", True, [True], None, 2]),
        ("1", ["1"], [1, True]),
        (0, [0], [False, "", None]),
        (True, [True, [False, True]], ["true", 1, False]),
        (False, [False], [0, None, ""]),
        (None, [None, [None]], ["", 0, False]),
        (["a", 1, None], ["a", 1, None, ["x", None]], ["1", True, [[]], {}]),
        ({"equals": ["a", 1]}, ["a", 1], ["1"]),
        ({"equals": "a", "ignore_case": True}, ["A", "a", ["B", "A"]], ["b", 1]),
        ({"equals": "STRASSE", "ignore_case": True}, ["straße"], ["strase"]),
        ({"prefix": "Obj"}, ["Object", ["x", "Obj"]], ["obj", 1, None, ["x"]]),
        ({"prefix": ["a", "b"]}, ["ax", "bx"], ["cx"]),
        ({"suffix": [".jpg", ".png"], "ignore_case": True}, ["x.JPG", "y.png"], ["x.gif", 7]),
        ({"contains": "mid"}, ["amidst", ["x", "mid"]], ["MID", 5]),
        ({"contains": "MID", "ignore_case": True}, ["amidst"], ["m"]),
        ({"matches": "^a+$"}, ["aaa", ["b", "a"]], ["ab", 1, None]),
        ({"matches": ["^x", "y$"]}, ["xa", "ay"], ["axa"]),
        ({"matches": "^é.$", "ignore_case": True}, ["ÉA"], ["e"]),
        ({"above": 1}, [2, 1.5, [0, 2]], [1, "2", True, None]),
        ({"below": 0.5}, [0, -1, 0.25], [0.5, "0", False]),
        ({"above": 1, "below": 3}, [2, [0, 2]], [1, 3, [0, 4]]),
        ({"exists": True}, ["x", "", 0, False, [], {}], [None]),
        ({"exists": False}, [None], ["x", ""]),
        ({"not": "a"}, ["b", None, 1, ["b"]], ["a", ["b", "a"]]),
        ({"not": {"prefix": ["a", "b"]}}, ["c", ["c"]], ["ax", ["c", "bx"]]),
        ({"not": {"exists": False}}, ["a"], [None]),
        ({"not": "a", "ignore_case": True}, ["b"], ["A"]),
        ({"not": None}, ["a", "", 0, ["b"]], [None, ["a", None]]),
        ({"not": None, "prefix": "a"}, ["ab"], [None, "b"]),
        ({"prefix": "a", "suffix": "z"}, ["az", ["b", "az"]], ["a", ["ab", "yz"]]),
        ({"prefix": "a", "not": {"suffix": "z"}}, ["ab", ["ab", "c"]], ["az", ["ab", "az"]]),
        ({"exists": True, "prefix": "a"}, ["ab"], [None, "b"]),
    ],
)
def test_a_comparison(test: object, passes: list[object], fails: list[object]) -> None:
    for found in passes:
        assert holds({"it": test}, {"it": found}), found
    for found in fails:
        assert not holds({"it": test}, {"it": found}), found


@pytest.mark.parametrize(
    ("test", "passes"),
    [
        ({"exists": False}, True),
        ({"exists": True}, False),
        ({"not": "a"}, True),
        ("a", False),
        (None, False),
        ({"not": None}, True),
        ({"below": 1}, False),
    ],
)
def test_an_absent_value(test: object, passes: bool) -> None:  # noqa: FBT001 - one of two
    """It exists not, and equals nothing, not even null."""
    assert holds({"it": test}, {}) is passes


def test_all_of_a_map_and_one_of_a_list_hold() -> None:
    both: dict[str, Any] = {"a": 1, "b": {"prefix": "x"}}
    assert holds(both, {"a": 1, "b": "xy"})
    assert not holds(both, {"a": 1, "b": "y"})
    assert not holds(both, {"a": 2, "b": "xy"})
    assert holds([both, {"c": "z"}], {"c": "z"})
    assert not holds([both, {"c": "z"}], {"c": "y"})


def test_a_number_in_the_event_compares_by_its_value() -> None:
    assert holds({"it": 0.5}, b'{"it": 5e-1}')
    assert holds({"it": {"above": 1e300}}, b'{"it": 1e400}')


def test_a_pattern_that_does_not_compile_is_a_fault() -> None:
    """With the place of the pattern, and without a word of the library on stderr."""
    (found,) = faults({"only": {"it": {"matches": ["a", "(?=b)"]}}})

    assert found.path == ("sources", "dam", "only", 0, "it", "matches", 1)
    assert found.message.startswith("This is not an RE2 pattern: invalid perl operator")


@pytest.mark.parametrize("key", ["where", "only"])
def test_what_is_not_selected(key: str) -> None:
    """The record as a whole, when the event has no items."""
    found = ended({key: {"a": 1}}, {"a": 2})

    assert (found.status, found.reason, found.part) == ("skipped", "not_selected", None)
    assert key in found.message


def test_hostile_text_costs_a_condition_little() -> None:
    """Python's own expressions took seconds on 27 of these characters."""
    event = {"it": "a" * 100_000 + "!"}
    assert not holds({"it": {"matches": r"^(\w+\s?)*$"}}, event)


def test_conditions_on_long_texts_are_work() -> None:
    event = {"it": "a" * 1_000_000, "items": [1] * 1000}
    spec = {"for_each": "items", "only": {"$event.it": {"matches": "b"}}}

    assert ended(spec, event).reason == "too_large"
