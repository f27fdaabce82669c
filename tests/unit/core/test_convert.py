"""Values: the PIM's own shape, and the short ones (contract §4)."""

import pytest

from service.core.convert import convert
from service.core.model import DeleteAsset, Rejection, UpsertAsset, ValueData
from tests.support.builders import command, decoded, plain, record, rejected


def values_of(values: object) -> dict[tuple[str, str | None, str | None], ValueData]:
    """What the values become."""
    found = command(plain(values=values))
    assert isinstance(found, UpsertAsset)
    return found.values


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
    assert found.values == {("n", None, None): number}


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
    "wrong",
    [
        {"object": 1},
        [{"data": {"object": 1}}],
        [{"locale": "en_US"}],
        [{"data": 1}, "text"],
        ["text", 1],
        [[1]],
        [{"data": [1]}],
        [{"data": 1, "locale": 5}],
        [{"data": 1}, {"data": 2, "locale": None}],
    ],
)
def test_a_wrong_shape_names_its_attribute(wrong: object) -> None:
    """`invalid_event`, with the place where a content person finds it."""
    found = rejected(plain(values={"fine": "x", "caption": wrong}))

    assert found.reason == "invalid_event"
    assert [error.attribute for error in found.errors] == ["caption"]


@pytest.mark.parametrize("values", [[], "x", 1])
def test_values_are_an_object(values: object) -> None:
    """Nothing else is."""
    assert rejected(plain(values=values)).reason == "invalid_event"


def test_deletes_may_be_switched_off() -> None:
    """ASSET_SYNC_DELETES=skip."""
    change = decoded(plain(action="delete"))
    skipped = convert(change, "skip")

    assert isinstance(convert(change), DeleteAsset)
    assert isinstance(skipped, Rejection)
    assert (skipped.status, skipped.reason) == ("skipped", "deletes_off")
