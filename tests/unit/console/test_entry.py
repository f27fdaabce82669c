"""What is kept of an outcome, and what is left out."""

import json

import pytest

from service.console.entry import (
    CONTEXT_VALUES_MAX,
    ERROR_CHARACTERS_MAX,
    ERRORS_MAX,
    IDENTIFIER_CHARACTERS_MAX,
    MESSAGE_CHARACTERS_MAX,
    StoredOutcome,
    entry_of,
    hash_of,
)
from tests.support.console import NOW_MS, entry, outcome


def test_an_outcome_is_kept_with_what_people_ask_for() -> None:
    kept = entry(
        7,
        status="rejected",
        result=None,
        reason="refused_by_pim",
        message="No.",
        errors=[
            {"attribute": "caption", "locale": "en_US", "channel": "web", "message": "too long"},
            {"path": "values", "message": "odd"},
            {"message": "alone"},
            "a text",
            {"path": 7},
        ],
    )

    assert (kept.id, kept.at_ms, kept.family, kept.code) == (
        "events/0/7", NOW_MS + 7000, "packshots", "sku_7",
    )  # fmt: skip
    assert kept.ending == ("rejected", "refused_by_pim")
    assert kept.errors == (
        ("caption (en_US, web)", "too long"), ("values", "odd"), ("", "alone"),
    )  # fmt: skip
    assert kept.identifiers == {"events/0/7", "evt-7", "dam-7"}


def test_a_change_of_a_raw_event_is_found_by_the_id_of_the_dam() -> None:
    """Its own id is the one that translate gave it."""
    event = {"id": "raw/1/7#2", "type": "asset-sync.asset.upserted.v1", "context": None}
    of_raw = outcome() | {"correlationid": "evt-9"}
    of_raw["data"] |= {"event": event}
    kept = entry_of(StoredOutcome(0, 0, NOW_MS, json.dumps(of_raw).encode()))
    assert kept is not None
    assert {"evt-9", "raw/1/7#2"} < kept.identifiers
    of_raw["data"]["event"] = event | {"type": "asset.updated"}
    kept = entry_of(StoredOutcome(0, 0, NOW_MS, json.dumps(of_raw).encode()))
    assert kept is not None
    assert "evt-9" not in kept.identifiers


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b'{"id": 1}',
        json.dumps(outcome() | {"type": "com.example.other"}).encode(),
    ],
)
def test_what_is_not_an_outcome_of_ours_is_not_kept(value: bytes | None) -> None:
    assert entry_of(StoredOutcome(0, 0, NOW_MS, value)) is None


@pytest.mark.parametrize(
    ("context", "kept"),
    [
        ({"dam_id": "0A3C-77"}, {"dam_id": "0A3C-77"}),
        ({"n": 12, "big": 1e30, "yes": True, "no": None}, {"n": "12", "big": "1e+30"}),
        ({"a": {"b": {"c": "deep"}}}, {"a.b.c": "deep"}),
        ({"a": {"b": {"c": {"d": "too deep"}}}}, {}),
        ({"ids": ["one", "two"]}, {"ids": "two"}),
        ({"long": "x" * (IDENTIFIER_CHARACTERS_MAX + 1), "short": "x"}, {"short": "x"}),
        (None, {}),
        ("text", {}),
        (["text"], {}),
        ({"": "no name"}, {}),
    ],
)
def test_the_scalars_of_a_context_are_kept(context: object, kept: dict[str, str]) -> None:
    assert entry(event={"id": None, "context": context}).values == kept


def test_all_values_of_a_list_are_identifiers() -> None:
    assert {"one", "two"} <= entry(event={"context": {"ids": ["one", "Two"]}}).identifiers


def test_nothing_grows_without_bound() -> None:
    kept = entry(
        message="m" * 5000,
        errors=[{"attribute": "a" * 5000, "message": "e" * 5000}] * 50,
        event={"id": "i" * 5000, "context": {f"k{n}": n for n in range(500)}},
    )

    assert len(kept.message or "") == MESSAGE_CHARACTERS_MAX
    assert len(kept.errors) == ERRORS_MAX
    assert all(len(text) <= ERROR_CHARACTERS_MAX for error in kept.errors for text in error)
    assert len(kept.context) == CONTEXT_VALUES_MAX
    assert len(kept.event_id or "") == IDENTIFIER_CHARACTERS_MAX


@pytest.mark.parametrize("errors", [None, {}, "text", 7, [[]], [None]])
def test_errors_of_another_form_are_left_out(errors: object) -> None:
    assert entry(errors=errors).errors == ()


def test_an_outcome_without_an_asset_or_event_is_kept() -> None:
    kept = entry(asset_family=None, code=None, event=None)
    assert (kept.family, kept.code) == (None, None)
    assert kept.identifiers == {"events/0/0"}


@pytest.mark.parametrize("text", ["", "a", "é", "\ud800", "x" * 10_000])
def test_a_hash_fits_into_a_signed_64_bit_number(text: str) -> None:
    assert -(2**63) <= hash_of(text) < 2**63
