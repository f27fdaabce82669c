"""What the fields of the form mean, and that an address asks the same again."""

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest

from service.console.entry import Ending
from service.console.query import (
    FIELD_CHARACTERS_MAX,
    Position,
    Query,
    address_of,
    age_of,
    ask,
    ask_asset,
    ms_of,
)
from tests.support.console import NOW_MS


def ms(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type] # mypy counts the numbers


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        ({"code": " SKU_1 "}, Query(code="sku_1")),
        ({"code": "sku_", "begins": "1"}, Query(code="sku_", begins=True)),
        ({"code": "Sku_*"}, Query(code="sku_", begins=True)),
        ({"code": "packshots/sku_1"}, Query(code="sku_1", family="packshots")),
        ({"code": "a/b", "family": "f"}, Query(code="a/b", family="f")),
        ({"id": " 0A3C-77"}, Query(identifier="0a3c-77")),
        ({"ending": "problems"}, Query(ending="problems")),
        ({"from": "2026-11-23"}, Query(since_ms=ms(2026, 11, 23))),
        ({"to": "2026-11-23"}, Query(until_ms=ms(2026, 11, 24))),
        ({"to": "2026-11-23 10:15"}, Query(until_ms=ms(2026, 11, 23, 10, 16))),
        ({"to": "9999-12-31"}, Query(until_ms=ms(9999, 12, 31) + 86_400_000)),
        ({"from": "2026-11-23T10:15:00+02:00"}, Query(since_ms=ms(2026, 11, 23, 8, 15))),
        ({"after": "-5.3.7.a.b/c"}, Query(after=Position("a.b/c", -5, 3, 7))),
        ({"other": "x"}, Query()),
    ],
)
def test_a_form_asks(fields: dict[str, str], query: Query) -> None:
    asked = ask(fields)
    assert asked.query == query
    assert asked.problems == ()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"from": "yesterday"}, "not a day"),
        ({"to": "2026-13-01"}, "not a day"),
        ({"from": "0001-01-01T00:00+23:00"}, "not a day"),
        ({"after": "x"}, "no page"),
        ({"after": f"{1 << 63}.1.1."}, "no page"),
    ],
)
def test_a_wrong_field_is_said_and_left_out(fields: dict[str, str], problem: str) -> None:
    asked = ask(fields)
    assert asked.query == Query()
    assert problem in asked.problems[0]


def test_an_address_asks_the_same_again_from_its_page_on() -> None:
    fields = {"code": "a&b=c", "begins": "1", "family": "é ü", "after": "-1.1.1.x"}
    after = Position("a&b\x00.c", -12, 3, 4)
    asked = ask(dict(parse_qsl(address_of(ask(fields).fields, after))))
    assert asked.query == ask(fields).query._replace(after=after)
    assert ask(dict(parse_qsl(address_of(asked.fields)))).query.after is None


def test_a_code_of_an_asset_is_meant_as_it_is_written() -> None:
    asked = ask_asset({"family": "f", "code": "a*", "begins": "1", "id": "x", "ending": "failed"})
    assert asked.query == Query(code="a*", family="f")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "browse"),
        ({"family": "f"}, "browse"),
        ({"code": "a"}, "exact"),
        ({"code": "a*"}, "prefix"),
        ({"code": "a", "id": "x"}, "identifier"),
    ],
)
def test_the_kind_of_a_search(fields: dict[str, str], kind: str) -> None:
    assert ask(fields).query.kind == kind
    assert ask(fields).is_empty == (not fields)


@pytest.mark.parametrize(
    ("ending", "wanted"),
    [
        ("", {"applied", "failed", "rejected", "later"}),
        ("problems", {"failed", "rejected"}),
        ("failed", {"failed"}),
        ("created", {"applied"}),
        ("timeout", {"failed"}),
        ("nothing", set()),
    ],
)
def test_an_ending_selects_by_status_or_detail(ending: str, wanted: set[str]) -> None:
    details = {"applied": "created", "failed": "timeout", "rejected": "too_large", "later": "new"}
    found = {one for one in details.items() if Query(ending=ending).takes(Ending(*one))}
    assert {status for status, _ in found} == wanted


def test_a_field_is_bounded() -> None:
    assert len(ask({"code": "x" * 100_000}).fields["code"]) == FIELD_CHARACTERS_MAX


def test_ages_fall_with_time_and_with_the_offset() -> None:
    ages = [
        age_of(0), age_of(NOW_MS, 0), age_of(NOW_MS, 1), age_of(NOW_MS + 1, 0), age_of(10**18),
    ]  # fmt: skip
    assert ages == sorted(ages, reverse=True)
    assert ms_of(age_of(NOW_MS, 123_456)) == NOW_MS
    assert age_of(-5) == 0
    assert age_of(10**30, 2**20 - 1) >= -(2**63)
