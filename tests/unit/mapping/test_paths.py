"""Paths: what they start from, plain ones and expressions (docs/sources.md)."""

import jmespath.parser
import pytest

from service.mapping import expressions, paths
from service.mapping.results import Change, RawRecord
from service.mapping.work import WORK_STEPS_MAX, Work
from tests.support.mapping import NAMED, NOTHING, change, ended, fault_of, mapped, refused, sent

EVENT = {
    "a": {"b": {"c": "deep"}, "n": None, "e": "", "": "no name"},
    "list": [{"x": "first"}, {"x": "last"}],
    "dc:title": "Colon",
    'quo"te': "Quote",
    "none": [],
    "scores": [{"w": "low", "s": 0.25}, {"w": "high", "s": 0.875}],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b.c", "deep"),
        ('"dc:title"', "Colon"),
        (r'"quo\"te"', "Quote"),
        ('a.""', "no name"),
        ("list[0].x", "first"),
        ("list[-1].x", "last"),
        ("$event.a.b.c", "deep"),
        ("$item.a.b.c", "deep"),
        ("$event.list[1].x", "last"),
        ("  a.b.c  ", "deep"),
        ("a.b | c", "deep"),
        ("$event | a.b.c", "deep"),
        ("list[?x=='last'].x | [0]", "last"),
        ("scores[?s > `0.8`].w", ["high"]),
        ("length(list)", "2"),
        ("to_string(scores[0].s)", "0.25"),
        ("join('-', list[*].x)", "first-last"),
        ("keys(a.b)", ["c"]),
    ],
)
def test_a_path_finds_its_value(path: str, found: object) -> None:
    assert sent(path, EVENT) == found


@pytest.mark.parametrize(
    "path",
    ["x", "a.x", "a.b.c.d", "list[2]", "list[-3]", "list.x", "a[0]", "a.n.x", "$fetched", "$key"],
)
def test_what_a_plain_path_does_not_find_is_absent(path: str) -> None:
    """It says nothing, whatever stands in its way."""
    assert sent(path, EVENT) is NOTHING


@pytest.mark.parametrize("path", ["a.n", "a.e", "none"])
def test_a_plain_path_tells_null_and_empty_from_absent(path: str) -> None:
    """They erase."""
    assert sent(path, EVENT) is None


@pytest.mark.parametrize("path", ["a.n | @", "none[*].x", "none[]", "list[?x=='y']", "a.x || a.n"])
def test_null_and_an_empty_list_of_an_expression_count_as_absent(path: str) -> None:
    assert sent(path, EVENT) is NOTHING


def test_the_record_is_a_root() -> None:
    context = {
        name: f"$record.{name}" for name in ("key", "topic", "partition", "offset", "time")
    } | {"header": '$record.headers."x-topic"', "all": "$record | keys(@)"}
    found = change(
        {"context": context},
        {},
        key=b"k/1",
        headers={"x-topic": "Asset.publish"},
        timestamp_ms=1_795_417_200_123,
    )

    assert found.context is not None
    assert bytes(found.context) == (
        b'{"key":"k/1","topic":"dam.test","partition":3,"offset":7,'
        b'"time":"2026-11-23T07:00:00.123Z","header":"Asset.publish",'
        b'"all":["topic","partition","offset","headers","key","time"]}'
    )


def test_a_record_without_key_and_time_lacks_them() -> None:
    found = change({"context": {"key": "$record.key", "time": "$record.time"}}, {})
    assert found.context is None
    first = change({"context": {"time": "$record.time"}}, {}, timestamp_ms=0)
    assert bytes(first.context or b"") == b'{"time":"1970-01-01T00:00:00.000Z"}'
    broken = RawRecord("t", 0, 0, None, b"{}", ((("x", None)),), 2**62)
    spec = {**NAMED, "context": {"x": "$record.headers.x", "time": "$record.time"}}
    (part,) = mapped(spec).map(broken).parts
    assert isinstance(part, Change)
    assert part.context is not None
    assert bytes(part.context) == b'{"x":null,"time":null}'


@pytest.mark.parametrize(
    ("key", "path", "found"),
    [
        ({"id": 42}, "$key.id", "42"),
        ({"schema": {}, "payload": {"id": 42}}, "$key.id", "42"),
        (b"sku-1", "$key", "sku-1"),
        (b"{broken", "$key", "{broken"),
        (b"[1]", "$key", "[1]"),
        (b"12", "$key", "12"),
        (b"\xff", "$key", r"\xff"),
    ],
)
def test_the_key_is_json_if_it_is_an_object_and_text_otherwise(
    key: object, path: str, found: str
) -> None:
    """With the wrapper taken off that the value has too."""
    spec = {"values": {"it": path}, "unwrap": ["payload"]}
    assert change(spec, {}, key=key).values == {"it": found}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("$evnt.a", "There is no root `$evnt`. Did you mean `$event`?"),
        ("$record.headrs.x", "`$record` has no `headrs`. Did you mean `headers`?"),
        ("lenght(a)", "There is no function `lenght`. Did you mean `length`?"),
        ("a[?foo(b)]", "There is no function `foo`."),
        ("length(a, b)", "`length` takes 1 argument, not 2."),
        ("join(a)", "`join` takes 2 arguments, not 1."),
        ("sort_by(a, b)", "`sort_by` takes an expression such as &name as argument 2."),
        ("length(&a)", "`length` takes no & before argument 1."),
        ("merge()", "`merge` takes at least 1 argument, not 0."),
        ("a..b", "This is not a path: . is not expected at character 3."),
        ("a.", "This is not a path: it ends too early."),
        (" ", "This is not a path: it is empty."),
        ("a[?b==`nope]", "This is not a path: Unclosed ` delimiter."),
        ("foo(", "This is not a path: it ends too early."),
        ("a b", "This is not a path: b is not expected at character 3."),
        (r'"a\q"', r'"a\q" is not a quoted name: write it like a text of JSON.'),
        (f"a | b{' | c' * 8}", "The path has 9 pipes; at most 8 are allowed."),
        ("!" * 61 + "a", "The path nests more than 60 levels."),
        ("!" * 900 + "a", "The path nests more than 60 levels."),
        ("a" * 1001, "The path has 1,001 characters; 1,000 are allowed."),
        (r'a == `"\ud800"`', "The path holds half of a surrogate pair, which is not a character."),
    ],
)
def test_a_path_that_can_never_be_walked_is_a_fault(path: str, message: str) -> None:
    """Before any event: the library itself tells unknown functions only when it runs them."""
    assert fault_of(path).startswith(message)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("length(n)", "length() got a value of type number"),
        ("sum(words)", "sum() got a value of type str"),
        ("sort_by(mixed, &@)", "sort_by() got a value of type string"),
        ("ceil(huge)", "it meets a value that it cannot handle"),
    ],
)
def test_a_type_error_inside_an_expression_is_unmappable(path: str, reason: str) -> None:
    """The message names the path and not the value, which may be long."""
    event = b'{"n": 1, "words": ["x"], "mixed": [1, "x"], "huge": 1e400}'
    found = refused(path, event)
    assert found == f"it: {path} cannot be evaluated: {reason} (values/it)"


def test_a_type_error_in_a_condition_names_its_line() -> None:
    found = ended({"rules": [{"do": "upsert", "when": {"length(n)": 1}}]}, {"n": 1})

    assert (found.status, found.reason, found.part) == ("rejected", "unmappable", None)
    assert found.message.endswith("(rules/0/when/0/length(n))")


def test_expressions_leave_nothing_in_the_cache_of_the_library() -> None:
    """It is shared by all of a process, and drops what others still use."""
    jmespath.parser.Parser.purge()
    sent("length(list)", EVENT)
    assert jmespath.parser.Parser._CACHE == {}


def test_a_number_stays_as_written_through_an_expression() -> None:
    event = b'{"items": [{"n": 1.50}, {"n": 1e400}, {"n": 12345678901234567890123}]}'
    assert sent("items[*].n", event) == ["1.50", "1e400", "12345678901234567890123"]
    assert sent("to_string(items[0].n)", event) == "1.50"
    assert sent("to_string(items)", event) == event.decode()[10:-1].replace(" ", "")
    assert sent("abs(items[2].n)", event) == "12345678901234567890123"


def test_a_number_that_a_path_makes_infinite_is_unmappable() -> None:
    assert "is not finite" in refused("sum(n)", b'{"n": [1e308, 1e308]}')
    assert "cannot be evaluated" in refused("to_string(sum(n))", b'{"n": [1e308, 1e308]}')


def test_every_step_of_an_expression_is_work() -> None:
    """So that no expression can hold up its source."""
    event = {"items": [{"x": 1}] * 1000}
    path = "items[*].items[].x || " + " || ".join("items[?x==`2`]" for _ in range(40))
    found = ended({"values": {f"v{n}": path for n in range(20)}}, event)

    assert (found.status, found.reason, found.part) == ("rejected", "too_large", None)


@pytest.mark.parametrize(
    ("document", "steps"),
    [({"a": {"b": 1}}, 3), ({"a": {"b": "x" * 640}}, 23), ({"a": {"b": [1, 2, 3]}}, 9)],
)
def test_a_step_is_a_node_an_element_or_64_characters(document: object, steps: int) -> None:
    """`a.b` has three nodes; two of them give the value."""
    work = Work()
    expressions.compile_expression(expressions.parse("a.b"), "a.b")(document, work)
    assert WORK_STEPS_MAX - work.left == steps


def test_the_limits_of_a_path_are_its_own() -> None:
    """What is as long, as deep or has as many pipes is a path."""
    assert sent("!" * 60 + "x", EVENT) is False
    assert sent("a" * 1000, EVENT) is NOTHING
    assert sent("a | b" + " | c" * 7, EVENT) is NOTHING


def test_plain_paths_are_those_without_operators() -> None:
    assert paths.plain_steps('a."b c"[0][-1].d') == ("a", "b c", 0, -1, "d")
    for text in ("", ".a", "a.[0]", "a[*]", "a[1:2]", "[0]a", "a|b", "a.b()"):
        assert paths.plain_steps(text) is None


def test_all_functions_of_the_library_are_known() -> None:
    """The grammar of JMESPath 1.1 has these; a new one would have to be judged."""
    assert len(expressions.FUNCTIONS) == 26
