"""Steps: what each does, and that they run in one order (docs/sources.md)."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.mapping import codes
from tests.support.mapping import NOTHING, fault_of, refused, sent

HOSTILE = "a" * 100_000 + "!"


def stepped(steps: Mapping[str, Any], text: object) -> object:
    """Return what the steps make of a member of the event."""
    return sent({"path": "it", **steps}, {"it": text})


@pytest.mark.parametrize(
    ("steps", "text", "made"),
    [
        ({"decode": "url"}, "a+b%2Fc%C3%A9", "a b/cé"),
        ({"decode": "url"}, "a+b", "a b"),
        ({"decode": "url"}, "%zz", "%zz"),
        ({"part": "name"}, "a/b/c.jpg", "c.jpg"),
        ({"part": "name"}, "c", "c"),
        ({"part": "name"}, "a/", NOTHING),
        ({"part": "stem"}, "a/c.tar.gz", "c.tar"),
        ({"part": "stem"}, "a/.hidden", ".hidden"),
        ({"part": "extension"}, "a.b/c.JPG", "JPG"),
        ({"part": "extension"}, "a.b/c", NOTHING),
        ({"part": "extension"}, ".hidden", NOTHING),
        ({"part": "folder"}, "a/b/c", "a/b"),
        ({"part": "folder"}, "c", NOTHING),
        ({"part": "top"}, "/a/b/c", "a"),
        ({"part": "top"}, "a", "a"),
        ({"part": "top"}, "/", NOTHING),
        ({"extract": "[0-9]+"}, "a12b34", "12"),
        ({"extract": "b([0-9])(.)"}, "a1b34", "3"),
        ({"extract": "(x)?a"}, "a", NOTHING),
        ({"extract": "x"}, "a", NOTHING),
        ({"extract": "é(.)"}, "aéß", "ß"),
        ({"extract": "^$"}, "a", NOTHING),
        ({"extract": r"(?P<y>\d+)-(?P<m>\d+)", "give": "{m}/{y}{{}}"}, "2026-11", "11/2026{}"),
        ({"extract": "(?P<a>a)(?P<b>b)?", "give": "[{a}{b}]"}, "a", "[a]"),
        ({"strip_prefix": "https://"}, "https://https://x", "https://x"),
        ({"strip_prefix": "x"}, "ax", "ax"),
        ({"strip_suffix": ".jpg"}, "a.jpg", "a"),
        ({"replace": {"-": "_", "_a": "!"}}, "x-a-b", "x!_b"),
        ({"replace": {"a": ""}}, "aaa", None),
        ({"split": ","}, " a, ,b ,a", ["a", "b"]),
        ({"split": "||"}, "a||b", ["a", "b"]),
        ({"split": ","}, ",, ", NOTHING),
        ({"table": "colours"}, "Red", "red"),
        ({"table": "colours"}, ["Rot", "Multi"], ["red", "purple"]),
        ({"table": {"a": "b"}}, "a", "b"),
        ({"table": {"true": "yes"}}, True, "yes"),
        ({"table": {"1": "one"}}, 1, "one"),
        ({"table": "colours", "otherwise": "drop"}, "red", NOTHING),
        ({"table": "colours", "otherwise": "drop"}, ["Red", "x"], ["red"]),
        ({"table": "colours", "otherwise": "drop"}, ["x"], NOTHING),
        ({"table": "colours", "otherwise": "keep"}, ["x", "Rot"], ["x", "red"]),
        ({"case": "lower"}, "ÀB", "àb"),
        ({"case": "upper"}, "straße", "STRASSE"),
        ({"multiply": 0.000001, "decimals": 2}, 48213, "0.05"),
        ({"multiply": 0.000001}, 48213, "0.048213"),
        ({"multiply": 100}, "1.10", "110"),
        ({"multiply": 1000000000000000000}, "1e10", "10000000000000000000000000000"),
        ({"multiply": 0.1}, "12345678901234567890123", "1234567890123456789012.3"),
        ({"decimals": 0}, "0.5", "0"),
        ({"decimals": 0}, "1.5", "2"),
        ({"decimals": 1}, "0.25", "0.2"),
        ({"decimals": 2}, "-0.001", "0.00"),
        ({"decimals": 2}, "7", "7.00"),
        ({"decimals": 1}, "1." + "0" * 98, "1.0"),
        ({"as": "text"}, True, "true"),
        ({"as": "number"}, "1.50", "1.50"),
        ({"as": "number"}, 3, "3"),
        ({"as": "boolean"}, "Yes", True),
        ({"as": "boolean"}, 0, False),
        ({"as": "boolean"}, True, True),
        ({"as": "boolean"}, "off", False),
        ({"as": "list"}, "a", ["a"]),
        ({"as": "list"}, ["a", "b"], ["a", "b"]),
        ({"as": "slug"}, "Été: à la plage!", "ete_a_la_plage"),
        ({"as": "slug"}, ["New In", "new in"], ["new_in"]),
        ({"as": "slug"}, "__A--B\x1f c\t1\u00a0é!", "a_b_c_1_e"),
        ({"as": "slug"}, "_A__b \x1cC\x7f9_", "a_b_c_9"),
        ({"as": "code"}, "AB_12", "AB_12"),
        ({"as": "code"}, "packshots/AB12 front.jpg", "packshots_AB12_front_jpg_01c79015"),
        ({"join": ","}, ["a", "b"], "a,b"),
        ({"join": ","}, "a", "a"),
        ({"cut": 5}, "abcdef", "abcd…"),
        ({"cut": 5}, "abcde", "abcde"),
        ({"cut": 2}, ["abc", "d"], ["a…", "d"]),
    ],
)
def test_a_step(steps: Mapping[str, Any], text: object, made: object) -> None:
    assert stepped(steps, text) == made


@pytest.mark.parametrize(
    ("steps", "text", "made"),
    [
        ({"date": "iso"}, "2026-11-23T07:00:00Z", "2026-11-23T07:00:00+00:00"),
        ({"date": "iso"}, "2026-W48-1T07:00:00Z", "2026-11-23T07:00:00+00:00"),
        ({"date": "iso"}, "20261123T070000.123Z", "2026-11-23T07:00:00+00:00"),
        ({"date": "%Y-%d-%mT%H:%M:%S%z"}, "2026-11-10T07:00:00Z", "2026-10-11T07:00:00+00:00"),
        ({"date": "iso"}, "2026-11-23T07:00:00.1234567Z", "2026-11-23T07:00:00+00:00"),
        ({"date": "iso"}, "2026-11-23T07:00:00.123456789+02:00", "2026-11-23T05:00:00+00:00"),
        ({"date": "iso"}, "2026-11-23T07:00:00", "2026-11-23T07:00:00+00:00"),
        ({"date": "iso"}, "2026-11-23", "2026-11-23T00:00:00+00:00"),
        ({"date": "iso", "zone": "Europe/Berlin"}, "2026-07-01", "2026-06-30T22:00:00+00:00"),
        (
            {"date": "iso", "zone": "Europe/Berlin"},
            "2026-11-23T07:00:00Z",
            "2026-11-23T07:00:00+00:00",
        ),
        ({"date": "epoch_s"}, 1795417200, "2026-11-23T07:00:00+00:00"),
        ({"date": "epoch_s"}, "1795417200.9", "2026-11-23T07:00:00+00:00"),
        ({"date": "epoch_s"}, -1, "1969-12-31T23:59:59+00:00"),
        ({"date": "epoch_ms"}, 1795417200123, "2026-11-23T07:00:00+00:00"),
        ({"date": "epoch_us"}, 1795417200123456, "2026-11-23T07:00:00+00:00"),
        ({"date": "epoch_days"}, 20780, "2026-11-23T00:00:00+00:00"),
        ({"date": "%d.%m.%Y %H:%M"}, "23.11.2026 08:05", "2026-11-23T08:05:00+00:00"),
        (
            {"date": "%d.%m.%Y", "zone": "America/New_York"},
            "23.11.2026",
            "2026-11-23T05:00:00+00:00",
        ),
        ({"date": "%Y %z"}, "0999 +0000", "0999-01-01T00:00:00+00:00"),
        ({"date": "iso"}, f"2026-11-23T07:00:00.{'0' * 79}Z", "2026-11-23T07:00:00+00:00"),
        ({"date": "iso"}, ["2026-11-23", "2026-11-23T00:00:00Z"], ["2026-11-23T00:00:00+00:00"]),
    ],
)
def test_a_date(steps: Mapping[str, Any], text: object, made: object) -> None:
    """In UTC, with a full offset; what has none is of the zone; fractions are cut."""
    assert stepped(steps, text) == made


@pytest.mark.parametrize(
    ("steps", "text", "message"),
    [
        ({"decode": "url"}, "caf%E9", "the %xx of 'caf%E9' are not UTF-8"),
        ({"decode": "url", "as": "code"}, ["a", "%ff"], "the %xx of '%ff' are not UTF-8"),
        ({"table": "colours"}, "Teal", "'Teal' is not in its table"),
        ({"table": "colours"}, ["Red", "x" * 200], f"'{'x' * 77}...' is not in its table"),
        ({"multiply": 2}, "1,5", "'1,5' is not a number"),
        ({"multiply": 2}, "NaN", "'NaN' is not a number"),
        ({"multiply": 2}, "1_0", "'1_0' is not a number"),
        ({"multiply": 2}, "٣", "'٣' is not a number"),
        ({"multiply": 2}, "9" * 101, f"'{'9' * 77}...' is not a number"),
        ({"multiply": 2}, "1." + "0" * 99, f"'1.{'0' * 75}...' is not a number"),
        ({"date": "iso"}, f"2026-11-23T07:00:00.{'0' * 80}Z", "'2026-11-23T07:00:00.000"),
        ({"multiply": 2}, "1e31", "'1e31' is out of range"),
        ({"decimals": 2}, "1e-31", "'1e-31' is out of range"),
        ({"multiply": 1e20}, "1e20", "'1e20' is out of range"),
        ({"decimals": 2}, "1e999999", "'1e999999' is out of range"),
        ({"date": "iso"}, "2026-13-40", "'2026-13-40' is not a date of the format iso"),
        ({"date": "iso"}, "9" * 400, f"'{'9' * 77}...' is not a date"),
        ({"date": "iso", "zone": "Asia/Tokyo"}, "0001-01-01", "'0001-01-01' is not a date"),
        ({"date": "epoch_s"}, "soon", "'soon' is not a number"),
        ({"date": "epoch_s"}, "9" * 30, f"'{'9' * 30}' is not a date"),
        ({"date": "%Y"}, "26", "'26' is not a date of the format %Y"),
        ({"as": "number"}, "many", "'many' is not a number"),
        ({"as": "boolean"}, "maybe", "'maybe' is neither true nor false"),
        ({"as": "boolean"}, ["true", "false"], "a list is neither true nor false"),
        ({"as": "slug"}, "日本", "'日本' has no letter or digit for a slug"),
    ],
)
def test_what_a_step_cannot_take_is_unmappable(
    steps: Mapping[str, Any], text: object, message: str
) -> None:
    """With the word that was wrong."""
    found = refused({"path": "it", **steps}, {"it": text})
    assert found.startswith(f"it: {message}")
    assert found.endswith(" (values/it)")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"extract": "("}, "This is not an RE2 pattern: missing ): (."),
        ({"extract": r"(a)\1"}, "This is not an RE2 pattern: invalid escape sequence"),
        ({"extract": "(?P<a>x)", "give": "{b}"}, "`extract` has no group `b`: name it (?P<b>…)"),
        ({"extract": "x", "give": "{"}, "A single { stands in the template: write {{."),
        ({"table": "colour"}, "There is no table `colour`. Did you mean `colours`?"),
        ({"replace": {"": "x"}}, "An empty text cannot be replaced."),
        ({"date": "epoch"}, "There is no date format `epoch`. Did you mean `epoch_"),
        ({"date": "%Q"}, "This is not a format of strptime: 'Q' is a bad directive"),
        ({"date": "iso", "zone": "Berlin"}, "There is no time zone 'Berlin': write it like"),
        ({"date": "iso", "zone": "../x"}, "There is no time zone '../x': write it like"),
    ],
)
def test_a_step_that_cannot_be_compiled_is_a_fault(value: dict[str, Any], message: str) -> None:
    assert fault_of({"path": "it", **value}).startswith(message)


def test_steps_run_in_one_order_whatever_the_order_in_the_file() -> None:
    steps: dict[str, Any] = {
        "decode": "url",
        "part": "stem",
        "extract": "^x(.*)$",
        "strip_prefix": "<",
        "strip_suffix": ">",
        "replace": {"-": ","},
        "split": ",",
        "table": {"a": ["B", "C"], "d": "D"},
        "otherwise": "keep",
        "case": "lower",
        "as": "code",
        "join": "+",
        "cut": 6,
    }
    for order in (steps, dict(reversed(steps.items()))):
        assert stepped(order, "folder/x<a-d-ef%2B>.jpg") == "b+c+d…"
    assert stepped({"multiply": 1000, "date": "epoch_ms"}, "1") == "1970-01-01T00:00:01+00:00"


def test_the_result_is_trimmed_and_distinct() -> None:
    assert stepped({"strip_prefix": "a"}, "a  b ") == "b"
    assert stepped({"case": "lower"}, ["A", "a"]) == ["a"]
    assert stepped({"strip_prefix": "a"}, ["a", "a "]) is NOTHING


def test_two_texts_do_not_become_one_code() -> None:
    """What is changed carries a hash of what it was, at most 255 characters long."""
    made = {stepped({"as": "code"}, text) for text in ("a b", "a-b", "a_b", "日本", "é", "e")}
    assert len(made) == 6
    long = stepped({"as": "code"}, "ü" * 300)
    assert isinstance(long, str)
    assert len(long) == 255
    assert len(str(stepped({"as": "code"}, "x" * 256))) == 255


def test_hostile_text_costs_a_pattern_little() -> None:
    assert stepped({"extract": r"^(\w+\s?)*$"}, HOSTILE) is NOTHING


@given(st.text(st.characters(max_codepoint=127)))
def test_the_slug_of_an_ascii_text_is_that_of_the_expression(text: str) -> None:
    """Which says what a slug is; texts of other characters are made by it."""
    assert codes.slug_of(text) == re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_")
