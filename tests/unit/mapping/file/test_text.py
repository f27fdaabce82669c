"""YAML with places: what is text, what is refused, and that no file can exhaust the process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.mapping.file import text
from service.mapping.file.text import Document, Place, WrittenFloat, read


def data(content: str) -> object:
    """Return the data of a text without a fault."""
    document = read(content.encode())
    assert isinstance(document, Document), document
    assert document.faults == ()
    return document.data


def faults(content: bytes | str) -> list[tuple[int, int, str]]:
    """Return line, column and message of each fault."""
    content = content.encode() if isinstance(content, str) else content
    found = read(content)
    listed = found.faults if isinstance(found, Document) else found
    return [(fault.place.line, fault.place.column, fault.message) for fault in listed]


@pytest.mark.parametrize(
    "word",
    ["no", "on", "yes", "off", "y", "12:30", "0123", "00.5", "0x1F", "0o17", "1_000", "2026-11-23",
     ".inf", ".nan", "1.2.3", "=", "<<"],
)  # fmt: skip
def test_words_that_yaml_1_1_takes_for_something_else_are_text(word: str) -> None:
    """A country `no`, a time 12:30 and an article number 0123 are what their author wrote."""
    assert data(f"a: {word}") == {"a": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [("1", 1), ("-7", -7), ("0", 0), ("+5", 5), ("0.5", 0.5), (".5", 0.5), ("1e3", 1000.0),
     ("true", True), ("FALSE", False), ("null", None), ("~", None), ("", None)],
)  # fmt: skip
def test_numbers_booleans_and_null_are_recognised(word: str, value: object) -> None:
    found = data(f"a: {word}")

    assert found == {"a": value}
    assert isinstance(found, dict)
    assert isinstance(found["a"], type(value))


@pytest.mark.parametrize("quoted", ["'1'", '"1"', "|-\n  1"])
def test_quotes_and_blocks_make_text(quoted: str) -> None:
    assert data(f"a: {quoted}") == {"a": "1"}


def test_keys_are_text_as_written() -> None:
    """A look-up table may have the keys 544, no and 0123."""
    assert data("{544: a, no: b, 0123: c, 1.50: d, null: e}") == {
        "544": "a", "no": "b", "0123": "c", "1.50": "d", "null": "e",
    }  # fmt: skip


def test_a_number_with_a_point_is_shown_as_it_was_written() -> None:
    found = data("[1.50, 1e3, .5]")

    assert isinstance(found, list)
    assert all(isinstance(each, WrittenFloat) for each in found)
    assert [str(each) for each in found] == ["1.50", "1e3", ".5"]


def test_every_key_and_value_has_its_place() -> None:
    document = read(b"a:\n  - x: 1\n  - {y: 2, z: [3]}\n")
    assert isinstance(document, Document)

    assert document.place(("a",)) == Place(2, 3)
    assert document.place(("a",), is_key=True) == Place(1, 1)
    assert document.place(("a", 1, "z")) == Place(3, 15)
    assert document.place(("a", 1, "z"), is_key=True) == Place(3, 12)
    assert document.place(("a", 1, "z", 0)) == Place(3, 16)


def test_a_part_that_the_document_lacks_has_the_place_of_what_is_around_it() -> None:
    """The long form of a short value, and a missing key."""
    document = read(b"values:\n  label: title\n")
    assert isinstance(document, Document)

    assert document.place(("values", "label", 0, "path")) == Place(2, 10)
    assert document.place(("values", "colour", "path")) == Place(2, 3)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: 1\na: 2", [(2, 1, "`a` is given twice; it is in line 1 already.")]),
        ("{b: 1, b: 1}", [(1, 8, "`b` is given twice; it is in line 1 already.")]),
        ("a: &x 1", [(1, 4, "Anchors and aliases are not supported")]),
        ("a: &x 1\nb: *x", [(1, 4, "Anchors and"), (2, 4, "Anchors and aliases")]),
        ("a: !!str 1", [(1, 4, "The tag tag:yaml.org,2002:str is not supported")]),
        ("a: !python/object:os.system 1", [(1, 4, "The tag !python/object:os.system is not")]),
        ("a: ! 1", [(1, 4, "The tag ! is not supported")]),
        ("a: 1\n---\nb: 2", [(2, 1, "A second document begins here")]),
        ("? [a]\n: 1", [(1, 3, "A key must be a text.")]),
        ("{? {a: 1} : 1}", [(1, 4, "A key must be a text.")]),
        ("", [(1, 1, "The file is empty.")]),
        ("# only this", [(1, 1, "The file is empty.")]),
        ("a: [1\nb: 2", [(2, 2, "This is not YAML: did not find expected ',' or ']'.")]),
        ("a:\n\tb: 1", [(2, 1, "This is not YAML: found character that cannot start")]),
        (b"a: 1\nb: \x01", [(2, 4, "A control character stands here")]),
        ("\ufeff\u20ac: 1\n\x01", [(2, 1, "A control character stands here")]),
        (b"a: 1\nb: \xff", [(2, 4, "The file is not UTF-8")]),
        (b"\xef\xbb\xbf\xe2\x82\xac: 1\n\xff", [(2, 1, "The file is not UTF-8")]),
        ("a: 1".encode("utf-16"), [(1, 1, "The file is not UTF-8")]),
        (f"a: 1{'0' * 100}", [(1, 4, "This number is too long: put it into quotes.")]),
    ],
)
def test_what_is_refused_has_its_place(
    content: bytes | str, expected: list[tuple[int, int, str]]
) -> None:
    found = faults(content)

    assert [fault[:2] for fault in found] == [fault[:2] for fault in expected]
    for (_, _, message), (_, _, part) in zip(found, expected, strict=True):
        assert part in message


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("# ünï\na:\n\tb: 1", "Indent with spaces, not with tabs."),
        ("a: {path: tags[0]}", "put a text that has brackets"),
        ("a: [b: {c: d: e}]", "put a text that has brackets or `: ` in it into quotes"),
        ("a: b: c", "Put a text that has `: ` in it into quotes"),
        ("a: @b", "Put the text into quotes."),
    ],
)
def test_what_is_not_yaml_is_told_how_to_correct_it(content: str, hint: str) -> None:
    [(_, _, message)] = faults(content)

    assert message.startswith("This is not YAML: ")
    assert hint in message


def test_all_faults_are_found_at_once() -> None:
    assert len(faults("a: &x 1\na: !!int 2\nb: *x\n? []\n: 3")) == 5


def test_a_byte_order_mark_and_document_marks_are_no_fault() -> None:
    assert data("\ufeffa: 1") == {"a": 1}
    assert data("%YAML 1.2\n---\na: 1\n...\n") == {"a": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [b"[", b"{", b"- ", b"? ", b"{a: ", b"[a,", b"- a\n", b"a:\n ", b'"', b"'", b"&a ", b"*a ",
     b"|\n", b"%a\n", b"---\n", b"!!", b"\t", b"#", b" ", b"\n", b"1", b"\x00", b": "],
)  # fmt: skip
def test_a_mebibyte_of_anything_is_read_or_refused(unit: bytes) -> None:
    """The parser behind this is written in C: depth and number are bounded before it suffers."""
    read(unit * (text.BYTES_MAX // len(unit)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#" * (text.BYTES_MAX + 1), f"at most {text.BYTES_MAX}"),
        (b"[" * (text.DEPTH_MAX + 2), f"more than {text.DEPTH_MAX} levels"),
        (b"- a\n" * (text.VALUES_MAX + 1), f"more than {text.VALUES_MAX} values"),
    ],
)
def test_size_depth_and_number_are_bounded(content: bytes, message: str) -> None:
    assert message in faults(content)[-1][2]


@given(st.binary() | st.text(alphabet="{}[]:,-?&*!|>'\"%@`#ab \n\t0.").map(str.encode))
def test_any_bytes_give_a_document_or_faults(content: bytes) -> None:
    found = read(content)

    assert isinstance(found, Document) or len(found) > 0
