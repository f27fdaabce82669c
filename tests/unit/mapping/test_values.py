"""Values: absent, empty and present; the sources (docs/sources.md)."""

import pytest

from tests.support.mapping import NOTHING, fault_of, refused, sent


@pytest.mark.parametrize(
    ("json", "datum"),
    [
        ('"text"', "text"),
        ('"  trimmed\\n"', "trimmed"),
        ("12", "12"),
        ("1.50", "1.50"),
        ("1E+2", "1E+2"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("-0", "-0"),
        ("[-0, 0, -0.0, 1e400]", ["-0", "0", "-0.0", "1e400"]),
        ("true", True),
        ("false", False),
        ('["b", "a", " b ", "", null, 1.0, true]', ["b", "a", "1.0", "true"]),
        ("null", None),
        ('""', None),
        ('" \\t "', None),
        ("[]", None),
        ('[null, ""]', None),
    ],
)
def test_a_value_of_the_event_in_the_form_of_the_pim(json: str, datum: object) -> None:
    """Numbers as text exactly as written; lists of distinct texts; None erases."""
    assert sent("it", f'{{"it": {json}}}'.encode()) == datum


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"a": 1}, "it: it is an object: name what in it is meant (values/it)"),
        ([["a"]], "it: it holds a list: name what in it is meant (values/it)"),
        (["a", {}], "it: it holds an object: name what in it is meant (values/it)"),
    ],
)
def test_objects_and_lists_of_lists_are_unmappable(found: object, message: str) -> None:
    """The message names attribute, path and line."""
    assert refused("it", {"it": found}) == message


def test_a_message_names_the_rule_if_it_has_a_name() -> None:
    rules = [{"name": "saved", "do": "upsert"}]
    found = refused({"path": "it", "table": "colours"}, {"it": "Teal"}, rules=rules)
    assert found == "it: 'Teal' is not in its table (values/it, rule saved)"


# --- sources ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "datum"),
    [
        ({"a": "1", "b": "2"}, "1"),
        ({"a": "", "b": "2"}, "2"),
        ({"a": None, "b": "2"}, "2"),
        ({"a": [], "b": "2"}, "2"),
        ({"a": [" "], "b": "2"}, "2"),
        ({"b": False}, False),
        ({"a": "", "b": None}, None),
        ({"b": ""}, None),
        ({}, NOTHING),
    ],
)
def test_the_first_that_is_neither_absent_nor_empty(event: object, datum: object) -> None:
    """If there is none, it is empty where one was empty."""
    assert sent({"first_of": ["a", "b"]}, event) == datum


@pytest.mark.parametrize(
    ("given", "datum"),
    [
        ("text", "text"),
        (1.5, "1.5"),
        (True, True),
        (["a", "b", "a"], ["a", "b"]),
        (" a\t", "a"),
        (" ", None),
        (None, None),
        ([], None),
        ("", None),
    ],
)
def test_a_constant(given: object, datum: object) -> None:
    """Null erases. It is the same wherever it stands."""
    assert sent({"const": given}, {}) == datum
    assert sent({"path": "gone", "default": given}, {}) == datum
    assert sent("gone", {}, rules=[{"do": "upsert", "set": {"it": given}}]) == datum


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{a}/{b}", "x y/é&/"),
        ("{a|url}/{b | url }", "x%20y/%C3%A9%26%2F"),
        ("{{{n}}}", "{1.50}"),
        ("{t}", "true"),
        ('{"q:x"}{list | [0]}', "quotedone"),
        ("{list | [0]|url}", "one"),
        ("no path", "no path"),
        ("{a}{gone}", NOTHING),
        ("{gone}{null}", NOTHING),
        ("{a}{null}", None),
        ("{blank}", None),
        (" {a}: ", "x y:"),
        (" ", None),
    ],
)
def test_a_template(template: str, filled: object) -> None:
    """Absent where one of its paths is, empty where one is empty; no text for half an event."""
    event = (
        '{"a": " x y ", "b": "é&/", "n": 1.50, "t": true, "q:x": "quoted", "list": ["one"],'
        ' "null": null, "blank": " "}'
    )
    assert sent({"template": template}, event.encode()) == filled


def test_a_template_takes_one_text() -> None:
    assert refused({"template": "{a}"}, {"a": ["x"]}).startswith("it: a is a list: a template")
    assert refused({"template": "{a}"}, {"a": {}}).startswith("it: a is an object")
    assert "would leave its place" in refused({"template": "/{a|url}"}, {"a": ".."})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{a", "A single { stands in the template: write {{."),
        ("a}", "A single } stands in the template: write }}."),
        ("{a{b}}", "A single { stands in the template: write {{."),
        ("{}", "This is not a path: "),
        ("{foo(a)}", "There is no function `foo`."),
    ],
)
def test_a_faulty_template(template: str, message: str) -> None:
    assert fault_of({"template": template}).startswith(message)


@pytest.mark.parametrize(
    ("file", "event", "made"),
    [
        ({"url": "u"}, {"u": "https://x/a"}, {"url": "https://x/a"}),
        (
            {"url": "https:{u}", "name": "n", "sha256": "{h}"},
            {"u": "//x/a", "n": "a.jpg", "h": "ab"},
            {"url": "https://x/a", "name": "a.jpg", "sha256": "ab"},
        ),
        ({"url": "u", "name": "n"}, {"u": "https://x", "n": None}, {"url": "https://x"}),
        ({"url": "u", "name": "n"}, {"n": "a.jpg"}, NOTHING),
        ({"url": "https:{u}"}, {"u": ""}, None),
    ],
)
def test_a_file(file: object, event: object, made: object) -> None:
    """Templates where they have braces, else paths; it stands and falls with its URL."""
    assert sent({"file": file}, event) == made


# --- what comes after the steps --------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "datum"), [({"a": "x"}, "x"), ({}, "d"), ({"a": None}, "d"), ({"a": False}, False)]
)
def test_a_default_stands_for_what_is_absent_or_empty(event: object, datum: object) -> None:
    assert sent({"path": "a", "default": "d"}, event) == datum


def test_a_default_may_erase() -> None:
    assert sent({"path": "a", "default": None}, {}) is None
    assert sent({"path": "a", "default": ["x", "x"]}, {}) == ["x"]


def test_a_value_under_a_condition() -> None:
    """Where it does not hold, the value is not there: `missing` is not asked."""
    value = {"path": "a", "when": {"b": 1}, "missing": "erase"}
    assert sent(value, {"a": "x", "b": 1}) == "x"
    assert sent(value, {"b": 1}) is None
    assert sent(value, {"a": "x", "b": 2}) is NOTHING
