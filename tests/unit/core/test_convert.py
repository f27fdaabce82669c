"""Values: the PIM's own shape, and the short ones (contract.md §4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.outcome import ErrorCode
from service.core.flaws import Flaws
from service.core.model import DeleteAsset, Rejection, UpsertAsset
from service.core.read.convert import convert
from service.core.read.value_forms import _read_at_once, _read_one_by_one, taken_apart
from service.core.values import MediaFile, Value, ValueData
from tests.support.builders import Flat, command, decoded, flat, plain, record, rejected


def values_of(values: object) -> Flat:
    """What the values become."""
    found = command(plain(values=values))
    assert isinstance(found, UpsertAsset)
    return flat(found.values)


@pytest.mark.parametrize(
    ("bare", "datum"),
    [
        ("text", "text"),
        (True, True),
        (False, False),
        (12, "12"),
        (12.5, "12.5"),
        (None, None),
        ([], None),
        (["red", "teal"], ["red", "teal"]),
    ],
)
def test_a_bare_value_is_one_entry(bare: object, datum: ValueData) -> None:
    """With null locale and channel; null and [] erase."""
    assert values_of({"v": bare}) == {("v", None, None): datum}


@pytest.mark.parametrize("number", ["1e400", "-0", "1.50", "12345678901234567890123", "1E+2"])
def test_a_number_is_text_exactly_as_written(number: str) -> None:
    """An exponent too."""
    event = '{"action":"upsert","asset_family":"f","code":"c","values":{"n":%s}}' % number  # noqa: UP031
    found = command(record(event.encode()))

    assert isinstance(found, UpsertAsset)
    assert taken_apart(found.values) == {"n": [Value(number)]}


def test_entries_have_locale_and_channel() -> None:
    """Absent ones mean null; members that are not known are ignored."""
    entries = [
        {"locale": "en_US", "channel": None, "data": "x", "attribute_type": "text"},
        {"channel": "print", "data": []},
    ]

    assert values_of({"v": entries}) == {
        ("v", "en_US", None): "x",
        ("v", None, "print"): None,
    }


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"object": 1}, "wrong_type"),
        ([{"data": {"object": 1}}], "wrong_type"),
        ([{"locale": "en_US"}], "missing_data"),
        ([{"data": 1}, "text"], "wrong_type"),
        (["text", 1], "wrong_type"),
        ([[1]], "wrong_type"),
        ([{"data": [1]}], "wrong_type"),
        ([{"data": 1, "locale": 5}], "wrong_type"),
        ([{"data": 1}, {"data": 2, "locale": None}], "duplicate_value"),
    ],
)
def test_a_wrong_shape_names_its_attribute(wrong: object, code: ErrorCode) -> None:
    """`invalid_event`, with the place where a content person finds it."""
    found = rejected(plain(values={"fine": "x", "caption": wrong}))

    assert found.reason == "invalid_event"
    assert [(error.attribute, error.code) for error in found.errors] == [("caption", code)]


@pytest.mark.parametrize("values", [[], "x", 1])
def test_values_are_an_object(values: object) -> None:
    """Nothing else is."""
    found = rejected(plain(values=values))
    assert found.reason == "invalid_event"
    assert [error.code for error in found.errors] == ["wrong_type"]


def test_deletes_may_be_switched_off() -> None:
    """ASSET_SYNC_DELETES=skip."""
    change = decoded(plain(action="delete"))
    skipped = convert(change, "skip")

    assert isinstance(convert(change), DeleteAsset)
    assert isinstance(skipped, Rejection)
    assert (skipped.status, skipped.reason) == ("skipped", "deletes_off")


SCOPES = st.none() | st.sampled_from(["en_US", "ecommerce", ""]) | st.just(5)
DATA: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just({})
    | st.lists(st.text(max_size=2) | st.integers(), max_size=3)
)  # fmt: skip
ENTRIES: st.SearchStrategy[list[object]] = st.lists(
    st.fixed_dictionaries({"data": DATA}, optional={"locale": SCOPES, "channel": SCOPES, "x": DATA})
    | st.fixed_dictionaries({"locale": SCOPES}) | st.text(max_size=2),
    max_size=3,
)  # fmt: skip
SHAPES = st.dictionaries(st.sampled_from(["a", "b", "c"]), DATA | ENTRIES, max_size=3)


@given(SHAPES)
def test_values_read_at_once_are_those_read_one_by_one(values: dict[str, object]) -> None:
    """The quick way takes only what it reads the same; what it leaves, the other way judges."""
    change = decoded(plain(values=values))
    assert change.values is not None
    quick = _read_at_once(change.values)
    careful = _read_one_by_one(change.values)
    if quick is not None:
        assert quick == careful
    elif not isinstance(careful, Flaws):
        left = flat(careful).values()
        assert any(datum is None or isinstance(datum, str) for datum in left), (
            "only numbers and entries with an empty list are left"
        )


DIGEST = "9F" * 32
URL = "https://cdn.example/boot.jpg"


@pytest.mark.parametrize(
    ("given", "file"),
    [
        ({"url": URL}, MediaFile(URL)),
        ({"url": URL, "name": "a.jpg"}, MediaFile(URL, "a.jpg")),
        ({"url": URL, "name": None, "sha256": None}, MediaFile(URL)),
        ({"url": URL, "name": ""}, MediaFile(URL)),
        ({"url": URL, "sha256": DIGEST}, MediaFile(URL, None, DIGEST.lower())),
    ],
)
def test_an_object_with_a_url_is_a_file(given: object, file: MediaFile) -> None:
    """As a bare value, and as the data of an entry."""
    assert values_of({"v": given}) == {("v", None, None): file}
    assert values_of({"v": [{"locale": "de", "data": given}]}) == {("v", "de", None): file}


@pytest.mark.parametrize(
    "values", [{"v": {"url": URL}}, {"v": [{"data": {"url": URL}}], "n": 1, "t": "x"}]
)
def test_a_command_knows_that_it_names_files(values: object) -> None:
    """So nobody looks for files where there are none."""
    found = command(plain(values=values))
    assert found.has_files
    assert not command(plain(values={"v": "x", "w": [{"data": URL}]})).has_files
    assert not DeleteAsset(found.asset).has_files


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "without `url`"),
        ({"url": None}, "without `url`"),
        ({"url": ""}, "without `url`"),
        ({"url": 5}, "whose `url` is not a string"),
        ({"url": ["x"]}, "whose `url` is not a string"),
        ({"url": "x" * 8_001}, "more than 8000 characters"),
        ({"url": URL, "name": 5}, "whose `name` is not a string"),
        ({"url": URL, "name": "x" * 1_001}, "more than 1000 characters"),
        ({"url": URL, "sha256": "9f" * 31}, "64 hexadecimal digits"),
        ({"url": URL, "sha256": "xx" * 32}, "64 hexadecimal digits"),
        ({"url": URL, "size": 5}, "the member 'size'"),
        ({"file": {"url": URL}}, "the member 'file'"),
    ],
)
def test_any_other_object_is_rejected(given: object, named: str) -> None:
    """With what is wrong with it; as a bare value, and as the data of an entry."""
    for value in (given, [{"locale": "de", "data": given}]):
        found = rejected(plain(values={"v": value, "w": "x"}))
        assert found.reason == "invalid_event"
        assert named in found.message


def test_a_list_of_files_is_rejected() -> None:
    """An attribute takes one file for each locale and channel."""
    assert rejected(plain(values={"v": [{"url": URL}]})).reason == "invalid_event"
    assert rejected(plain(values={"v": [{"data": [{"url": URL}]}]})).reason == "invalid_event"


texts = st.none() | st.text(max_size=5) | st.integers()


@given(
    st.dictionaries(
        st.sampled_from(["url", "name", "sha256", "x"]), texts | st.just(DIGEST) | st.just(URL)
    )
)
def test_whatever_an_object_holds_it_is_a_file_or_rejected(given_file: dict[str, object]) -> None:
    """Nothing raises, and nothing else comes out."""
    for value in (given_file, [{"data": given_file}]):
        found = convert(decoded(plain(values={"v": value})))
        if isinstance(found, UpsertAsset):
            assert isinstance(found.values, dict)
            assert isinstance(found.values["v"][0].data, MediaFile)
            assert found.has_files
        else:
            assert isinstance(found, Rejection)
