"""Entries by locale and channel, lists in the event, and what an absent value means."""

from typing import Any

import pytest

from tests.support.mapping import NOTHING, ended, refused, sent


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ({"path": "a", "locale": "en_US"}, [{"locale": "en_US", "data": "x"}]),
        ({"path": "a", "channel": "web"}, [{"channel": "web", "data": "x"}]),
        (
            {"path": "a", "locale": "en_US", "channel": "web"},
            [{"locale": "en_US", "channel": "web", "data": "x"}],
        ),
        ({"path": "a", "locale": {"path": "l"}}, [{"locale": "en", "data": "x"}]),
        (
            {"path": "a", "locale": {"path": "l", "table": "locales"}},
            [{"locale": "en_US", "data": "x"}],
        ),
        ({"path": "a", "locale": {"const": "de_DE"}}, [{"locale": "de_DE", "data": "x"}]),
        ({"path": "a", "locale": {"path": "null"}}, "x"),
        ({"path": "a", "locale": {"path": "gone"}}, NOTHING),
        (
            {"path": "a", "locale": {"path": "a", "table": "locales", "otherwise": "drop"}},
            NOTHING,
        ),
        ({"path": "gone", "locale": "en_US"}, NOTHING),
        ({"path": "null", "locale": "en_US"}, [{"locale": "en_US", "data": None}]),
        (
            [{"path": "a", "locale": "en_US"}, {"path": "b", "locale": "fr_FR"}],
            [{"locale": "en_US", "data": "x"}, {"locale": "fr_FR", "data": "y"}],
        ),
        (
            [{"path": "a", "locale": "en_US"}, "b"],
            [{"locale": "en_US", "data": "x"}, {"data": "y"}],
        ),
        (["a", {"path": "c"}], "x"),
        (["gone", "a"], "x"),
        (["gone", "gone"], NOTHING),
    ],
)
def test_locale_and_channel(value: object, made: object) -> None:
    """One value without them stands bare; an entry whose locale is dropped is left out."""
    assert sent(value, {"a": "x", "b": "y", "c": "x", "l": "en", "null": None}) == made


def test_two_different_values_for_one_locale_and_channel_are_unmappable() -> None:
    values = [{"path": "a", "locale": "en_US"}, {"path": "b", "locale": "en_US"}]
    assert refused(values, {"a": "x", "b": "y"}) == (
        "it: two different values for locale en_US and channel null (values/it)"
    )
    assert "two different values" in refused(["a", "b"], {"a": "x", "b": None})


@pytest.mark.parametrize("codes", [["en", "fr"], True])
def test_a_locale_is_one_text(codes: object) -> None:
    found = refused({"path": "a", "locale": {"path": "l"}}, {"a": "x", "l": codes})
    assert found == "it: it.locale must be one text (values/it)"


# --- each ------------------------------------------------------------------------------------

EACH: dict[str, Any] = {
    "each": "titles",
    "locale": {"path": "key", "table": "locales", "otherwise": "drop"},
    "path": "value",
}


@pytest.mark.parametrize(
    ("titles", "made"),
    [
        (
            {"en": "Beach", "fr": "Plage", "xx": "?"},
            [{"locale": "en_US", "data": "Beach"}, {"locale": "fr_FR", "data": "Plage"}],
        ),
        ([{"key": "fr", "value": "Plage"}], [{"locale": "fr_FR", "data": "Plage"}]),
        ([{"key": "fr"}], NOTHING),
        ([{"key": "fr", "value": ""}], [{"locale": "fr_FR", "data": None}]),
        ({"xx": "?"}, NOTHING),
        ([5], NOTHING),
        (
            {"en": "Beach", "fr": {"no": "text"}},
            "it: value is an object: name what in it is meant (values/it)",
        ),
        ("text", "it: titles is a text, neither a list nor an object (values/it)"),
    ],
)
def test_one_entry_for_each_item(titles: object, made: object) -> None:
    if isinstance(made, str):
        assert refused(EACH, {"titles": titles}) == made
    else:
        assert sent(EACH, {"titles": titles}) == made


def test_an_item_may_look_at_the_event() -> None:
    value = {"each": "list", "path": "t", "locale": "en_US", "channel": {"path": "$event.channel"}}
    assert sent(value, {"list": [{"t": "x"}], "channel": "web"}) == [
        {"locale": "en_US", "channel": "web", "data": "x"}
    ]


def test_an_empty_list_erases_every_locale_of_the_table() -> None:
    nothings: list[object] = [[], {}, None]
    for empty in nothings:
        assert sent(EACH, {"titles": empty}) == [
            {"locale": "en_US", "data": None},
            {"locale": "fr_FR", "data": None},
        ]
    assert sent({"each": "titles", "path": "t"}, {"titles": []}) is None
    assert sent({"each": "t", "path": "t", "locale": {"path": "l"}}, {"t": []}) is NOTHING


# --- missing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ("gone", None),
        ({"path": "gone", "locale": "en_US"}, [{"locale": "en_US", "data": None}]),
        ({"path": "gone", "missing": "leave"}, NOTHING),
        ({"path": "gone", "default": "d"}, "d"),
        (["gone", "a"], "x"),
        (
            {**EACH, "each": "gone"},
            [{"locale": "en_US", "data": None}, {"locale": "fr_FR", "data": None}],
        ),
        (
            {**EACH, "each": "one"},
            [{"locale": "en_US", "data": "Beach"}, {"locale": "fr_FR", "data": None}],
        ),
        ({**EACH, "each": "gone", "missing": "leave"}, NOTHING),
    ],
)
def test_erase_means_that_the_event_is_the_whole_truth(value: object, made: object) -> None:
    """With `each`, for every locale of its table that the event does not have."""
    assert sent(value, {"a": "x", "one": {"en": "Beach"}}, missing="erase") == made


def test_missing_of_the_rule_goes_before_that_of_the_source() -> None:
    rules = [{"do": "upsert", "missing": "erase"}]
    assert sent("gone", {}, missing="reject", rules=rules) is None


@pytest.mark.parametrize("value", [{"path": "gone"}, {**EACH, "each": "gone", "path": "gone"}])
def test_reject_names_what_is_missing(value: dict[str, Any]) -> None:
    message = refused({**value, "missing": "reject"}, {})
    assert message == "it: the event has no gone (values/it)"


def test_skip_skips_the_change() -> None:
    found = ended({"values": {"it": {"first_of": ["a", "b"], "missing": "skip"}}}, {})

    assert (found.status, found.reason, found.part) == ("skipped", "not_selected", 0)
    assert found.message == "The event has no a or b."


@pytest.mark.parametrize(
    ("event", "message"),
    [({}, "it: the event has no texts"), ({"texts": [{}]}, "it: the event has no text")],
)
def test_what_is_missing_of_each_is_named(event: dict[str, Any], message: str) -> None:
    """The list itself, or what an item of it lacks."""
    found = ended({"values": {"it": {"each": "texts", "path": "text", "missing": "reject"}}}, event)

    assert found.message == f"{message} (values/it)"
    assert (found.family, found.code) == ("packshots", "a1")


def test_an_empty_value_erases_whatever_missing_says() -> None:
    assert sent({"path": "a", "missing": "reject"}, {"a": ""}) is None
