"""Values in the shapes of their attributes, and what is said of those that fit none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.outcome import ErrorCode
from service.core.group.shape import Shaped, Structure, _fit_unchanged, _shape_in_detail
from service.core.group.shape import shape as shape_values
from service.core.values import Attribute, ValueData
from tests.support.builders import Flat, flat, nested

STRUCTURE = Structure(
    attributes={
        attribute.code: attribute
        for attribute in (
            Attribute("text", "text", characters_max=5),
            Attribute("number", "number", takes_decimals=False, least="0", most="10"),
            Attribute("one", "single_option"),
            Attribute("many", "multiple_options"),
            Attribute("flag", "boolean"),
            Attribute("day", "date"),
            Attribute("link", "media_link"),
            Attribute("by_locale", "text", per_locale=True),
            Attribute("by_channel", "text", per_channel=True),
            Attribute("odd", "asset_family_single_link"),
        )
    },
    options={"one": frozenset({"red"}), "many": frozenset({"red", "blue"})},
)


def bare(attribute: str) -> tuple[str, None, None]:
    """A value without locale and channel."""
    return attribute, None, None


def shape(values: Flat, structure: Structure, default_locale: str | None) -> Shaped:
    """Shape values that are written down flat."""
    return shape_values(nested(values), structure, default_locale)


@pytest.mark.parametrize(
    ("attribute", "data", "shaped"),
    [
        ("many", "red", ["red"]), ("many", ["red", "blue"], ["red", "blue"]),
        ("one", ["red"], "red"), ("one", "red", "red"), ("one", "RED", "RED"),
        ("flag", "true", True), ("flag", "False", False), ("flag", True, True),
        ("text", True, "true"), ("text", ["a"], "a"), ("number", "7", "7"),
        ("number", "1e1", "1e1"),
        ("many", [], []), ("many", None, None), ("one", None, None),
        ("odd", ["x", "y"], ["x", "y"]),
        ("link", ["l/1.jpg"], "l/1.jpg"), ("day", "02/03/2021", "02/03/2021"),
    ],
)  # fmt: skip
def test_a_value_takes_its_attributes_shape(
    attribute: str, data: ValueData, shaped: ValueData
) -> None:
    """An event need not know whether an attribute takes one option or several."""
    found = shape({bare(attribute): data}, STRUCTURE, None)
    assert (flat(found.values), list(found.flaws)) == ({bare(attribute): shaped}, [])


@pytest.mark.parametrize(
    ("attribute", "data", "code", "message"),
    [
        ("nowhere", "x", "unknown_attribute", "The family has no attribute nowhere."),
        ("text", "abcdef", "too_long", "text accepts at most 5 characters; 6 given."),
        ("text", ["a", "b"], "wrong_type", "text is of type text, which does not accept a list."),
        ("number", "11", "out_of_range", "number accepts at most 10; 11 given."),
        ("number", "-1", "out_of_range", "number accepts at least 0; -1 given."),
        ("number", "1.5", "no_decimals", "number accepts no decimals; 1.5 given."),
        ("number", "NaN", "not_a_number", "number is of type number, which does not accept 'NaN'."),
        (
            "number",
            "many",
            "not_a_number",
            "number is of type number, which does not accept 'many'.",
        ),
        (
            "number",
            True,
            "wrong_type",
            "number is of type number, which does not accept a boolean.",
        ),
        ("flag", "perhaps", "wrong_type", "flag is of type boolean, which does not accept text."),
        (
            "many",
            False,
            "wrong_type",
            "many is of type multiple_options, which does not accept a boolean.",
        ),
        (
            "one",
            ["red", "blue"],
            "wrong_type",
            "one is of type single_option, which does not accept a list.",
        ),
        ("one", "teal", "unknown_option", "one has no option teal."),
        ("many", ["red", "teal"], "unknown_option", "many has no option teal."),
        (
            "by_channel",
            "x",
            "missing_channel",
            "by_channel has a value per channel: give a channel.",
        ),
        ("by_locale", "x", "missing_locale", "by_locale has a value per locale: give a locale."),
    ],
)
def test_a_flaw_names_attribute_and_rule(
    attribute: str, data: ValueData, code: ErrorCode, message: str
) -> None:
    """By a code for programs, and in one sentence for people."""
    (flaw,) = shape({bare(attribute): data}, STRUCTURE, None).flaws
    assert (flaw.code, flaw.message) == (code, message)
    assert (flaw.attribute, flaw.path) == (attribute, f"values.{attribute}")


LIMITS = st.none() | st.sampled_from(
    ["NaN", "sNaN", "Infinity", "-Infinity", "1e999999999999999999999", "x", "", "9" * 5000, "5"]
)
NUMBERS = st.sampled_from(["7", "9" * 5000, "1e999999999", "-1e-999999999", "NaN", "1e" + "9" * 30])


@given(LIMITS, LIMITS, NUMBERS)
def test_limits_that_are_no_numbers_limit_nothing(
    least: str | None, most: str | None, number: str
) -> None:
    """Whatever a PIM shows as `min_value` and `max_value`: an answer, and of bounded length."""
    attribute = Attribute("n", "number", takes_decimals=False, least=least, most=most)
    flaws = shape({bare("n"): number}, Structure({"n": attribute}, {}), None).flaws
    assert all(len(flaw.message or "") < 200 for flaw in flaws)
    if number == "7":
        is_refused = least == "9" * 5000 or most == "5"
        assert bool(flaws) is is_refused


def test_flaws_are_kept_as_an_outcome_shows_them() -> None:
    """A change that waits does not hold a hundred thousand sentences."""
    options: list[str] = [f"o{number}" for number in range(1000)]
    found = shape({bare("many"): options, bare("flag"): "x"}, STRUCTURE, None)
    assert (len(found.flaws), found.flaws_count, found.missing_count) == (51, 1001, 1000)
    assert len(found.missing_options) == 101


def test_a_locale_or_channel_too_many() -> None:
    """Where the attribute does not differ by it."""
    found = shape({("text", "en_US", None): "a", ("flag", None, "print"): True}, STRUCTURE, None)
    assert [(flaw.code, flaw.locale or flaw.channel) for flaw in found.flaws] == [
        ("unexpected_locale", "en_US"),
        ("unexpected_channel", "print"),
    ]


def test_a_bare_value_takes_the_default_locale() -> None:
    """Where the attribute differs by locale; an own locale stays."""
    found = shape({bare("by_locale"): "x", ("by_locale", "fr_FR", None): "y"}, STRUCTURE, "en_US")
    assert flat(found.values) == {
        ("by_locale", "en_US", None): "x",
        ("by_locale", "fr_FR", None): "y",
    }
    assert not found.flaws


def test_two_values_for_one_place() -> None:
    """The bare one and the default locale's own."""
    found = shape({bare("by_locale"): "x", ("by_locale", "en_US", None): "y"}, STRUCTURE, "en_US")
    assert [flaw.code for flaw in found.flaws] == ["duplicate_value"]


def test_missing_options_are_listed() -> None:
    """For those who create them."""
    found = shape({bare("many"): ["teal", "red", "pink"]}, STRUCTURE, None)
    assert found.missing_options == [("many", "teal"), ("many", "pink")]


def test_options_that_were_not_read_are_the_pims_to_judge() -> None:
    """No flaw without knowledge."""
    unknown = Structure(STRUCTURE.attributes, {})
    assert not shape({bare("one"): "teal"}, unknown, None).flaws


SCOPES = st.none() | st.sampled_from(["en_US", "print"])
DATA = (
    st.none() | st.booleans() | st.sampled_from(["red", "teal", "1", "true", "abcdef"])
    | st.lists(st.sampled_from(["red", "blue", "teal"]), max_size=3)
)  # fmt: skip
PLACES = st.tuples(st.sampled_from([*STRUCTURE.attributes, "nowhere"]), SCOPES, SCOPES)


@given(st.dictionaries(PLACES, DATA, max_size=3))
def test_the_quick_look_passes_only_what_care_would_leave_as_it_is(values: Flat) -> None:
    """It is there for speed, and judges nothing."""
    given_values = nested(values)
    if _fit_unchanged(given_values, STRUCTURE):
        assert _shape_in_detail(given_values, STRUCTURE, None) == Shaped(given_values, [], [])
