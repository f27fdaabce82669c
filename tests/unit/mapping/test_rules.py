"""Rules: which one decides, items, the asset's name, deletes, and what is read back."""

from typing import Any

import pytest
from msgspec import Raw

from service.contracts.asset_change import CONTEXT_BYTES_MAX
from service.mapping.endings import RecordEndedError
from service.mapping.json_values import decode_fetched
from service.mapping.results import Change, Ended, EventFacts, NotFound, Read
from tests.support.mapping import NAMED, change, ended, mapped, parts_of, raw, resumed

DELETES: dict[str, Any] = {"rules": [{"do": "delete"}]}


def summary(parts: tuple[object, ...]) -> list[str]:
    """Return a line for each part: what it is, and of which item."""
    lines = []
    for part in parts:
        if isinstance(part, Change):
            more = f".{part.further}" if part.further else ""
            lines.append(f"{part.part}{more} {part.action} {part.family}/{part.code}")
        elif isinstance(part, Ended):
            lines.append(f"{part.part} {part.status} {part.reason}")
        else:
            assert isinstance(part, Read)
            lines.append(f"{part.part} read {part.host} {part.url}")
    return lines


# --- rules -----------------------------------------------------------------------------------


def test_the_first_rule_whose_condition_holds_decides() -> None:
    spec = {
        "rules": [
            {"name": "first", "when": {"a": 1}, "do": "delete"},
            {"name": "second", "when": {"a": [1, 2]}, "do": "upsert"},
            {"name": "third", "when": {"a": 3}, "do": "skip", "because": "Three is ours."},
            {"when": {"a": 4}, "do": "skip"},
            {"name": "fifth", "when": {"a": 5}, "do": "reject", "because": "Never five."},
            {"name": "sixth", "when": {"a": 6}, "do": "reject"},
        ]
    }
    assert change(spec, {"a": 1}).rule == "first"
    assert change(spec, {"a": 2}).rule == "second"
    ends = [ended(spec, {"a": a}) for a in range(3, 8)]
    assert [(end.status, end.reason, end.message, end.rule) for end in ends] == [
        ("skipped", "not_selected", "Three is ours.", "third"),
        ("skipped", "not_selected", "The event is skipped by rule 4.", "4"),
        ("rejected", "unmappable", "Never five.", "fifth"),
        ("rejected", "unmappable", "The event is rejected by rule sixth.", "sixth"),
        ("skipped", "not_selected", "No rule takes it.", None),
    ]
    assert {end.part for end in ends} == {None}


def test_a_rule_replaces_the_keys_of_its_source_as_a_whole() -> None:
    spec = {
        "values": {"a": "a", "b": "b"},
        "context": {"x": "a"},
        "code": "a",
        "rules": [{"do": "upsert", "values": {"c": "a"}, "context": {"y": "b"}, "code": "b"}],
    }
    found = change(spec, {"a": "1", "b": "2"})

    assert (found.code, found.values) == ("2", {"c": "1"})
    assert found.context is not None
    assert bytes(found.context) == b'{"y":"2"}'


def test_set_stands_on_top_of_values() -> None:
    spec = {
        "values": {"a": "a", "b": {"path": "a", "locale": "en_US"}},
        "rules": [{"do": "upsert", "set": {"b": "on", "c": [], "d": True, "e": 1.5}}],
    }
    assert change(spec, {"a": "1"}).values == {
        "a": "1", "b": "on", "c": None, "d": True, "e": "1.5",
    }  # fmt: skip


def test_an_upsert_may_have_no_value() -> None:
    assert change({}, {}).values == {}


# --- items -----------------------------------------------------------------------------------

ITEMS: dict[str, Any] = {
    "for_each": "items",
    "family": {"path": "f", "table": {"p": "packshots"}, "otherwise": "drop"},
    "code": "id",
    "only": {"mine": True},
    "rules": [
        {"when": {"op": "d"}, "do": "delete"},
        {"when": {"op": "u"}, "do": "upsert"},
        {"when": {"op": "r"}, "do": "reject"},
    ],
}
ALL_KINDS = [
    {"mine": True, "op": "d", "f": "p", "id": "a"},
    {"mine": False, "op": "d"},
    {"mine": True, "op": "x"},
    {"mine": True, "op": "u", "f": "q", "id": "b"},
    {"mine": True, "op": "u", "f": "p"},
    {"mine": True, "op": "r"},
    {"mine": True, "op": "u", "f": "p", "id": "c"},
    "text",
]


def test_each_item_ends_for_itself_in_order() -> None:
    """Skipped and rejected ones are counted; one that is unmappable ends no other."""
    assert summary(parts_of(ITEMS, {"items": ALL_KINDS})) == [
        "0 delete packshots/a",
        "1 skipped not_selected",
        "2 skipped not_selected",
        "3 skipped no_family",
        "4 rejected unmappable",
        "5 rejected unmappable",
        "6 upsert packshots/c",
        "7 skipped not_selected",
    ]


def test_a_replay_maps_only_its_parts() -> None:
    source = mapped({**NAMED, **ITEMS})
    record = raw({"items": ALL_KINDS})

    assert summary(source.map(record, frozenset({0, 4})).parts) == [
        "0 delete packshots/a",
        "4 rejected unmappable",
    ]
    assert summary(source.map(record, frozenset({99})).parts) == ["None skipped not_selected"]


def test_an_object_has_items_too() -> None:
    """Each is a `{key, value}`."""
    spec = {"for_each": "items", "code": "value.id", "context": {"name": "key"}}
    found = parts_of(spec, {"items": {"x": {"id": "a"}, "y": {"id": "b"}}})

    assert summary(found) == ["0 upsert packshots/a", "1 upsert packshots/b"]
    assert [bytes(part.context or b"") for part in found if isinstance(part, Change)] == [
        b'{"name":"x"}',
        b'{"name":"y"}',
    ]


def test_for_each_at_a_rule_stands_behind_its_condition() -> None:
    """`when` sees the event, the rest the item; `only` is asked of each item."""
    spec = {
        "only": {"id": {"exists": True}},
        "rules": [
            {"when": {"type": "many"}, "for_each": "items", "code": "id", "do": "delete"},
            {"when": {"type": "one"}, "code": "id", "do": "upsert"},
        ],
    }
    many = {"type": "many", "items": [{"id": "a"}, {}]}
    assert summary(parts_of(spec, many)) == ["0 delete packshots/a", "1 skipped not_selected"]
    assert summary(parts_of(spec, {"type": "one", "id": "b"})) == ["0 upsert packshots/b"]
    assert summary(parts_of(spec, {"type": "one"})) == ["None skipped not_selected"]


@pytest.mark.parametrize("event", [{}, {"items": []}, {"items": {}}, {"items": None}])
def test_an_event_without_items_gives_one_outcome(event: object) -> None:
    """Such as the test event that AWS sends."""
    found = ended({"for_each": "items"}, event)
    assert (found.part, found.status, found.reason) == (None, "skipped", "not_selected")
    assert found.message == "items has no items."


@pytest.mark.parametrize("items", ["text", 5, True])
def test_items_are_a_list_or_an_object(items: object) -> None:
    found = ended({"for_each": "items"}, {"items": items})
    assert (found.part, found.status, found.reason) == (None, "rejected", "unmappable")
    assert found.message.endswith(", neither a list nor an object (for_each)")


@pytest.mark.parametrize("make", [list, lambda ids: {str(each): each for each in ids}])
def test_more_than_1000_items_are_too_large(make: Any) -> None:  # noqa: ANN401 - a list or an object
    spec = {"for_each": "items", "code": {"const": "a"}}
    assert len(parts_of(spec, {"items": make(range(1000))})) == 1000
    found = ended(spec, {"items": make(range(1001))})
    assert (found.part, found.status, found.reason) == (None, "rejected", "too_large")
    assert found.message == "items has 1,001 items; at most 1,000 are mapped."


# --- the asset -------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "root"), [({"a": {"id": "x"}}, "a"), ({"a": ["x"]}, "a")])
def test_root_is_what_paths_start_from(given: object, root: str) -> None:
    spec = {
        "code": {"first_of": ["id", "[0]"]},
        "rules": [{"do": "upsert", "root": root}],
    }
    assert change(spec, given).code == "x"


@pytest.mark.parametrize("event", [{}, {"a": None}])
def test_an_absent_root_is_unmappable(event: object) -> None:
    found = ended({"rules": [{"do": "upsert", "root": "a"}]}, event)
    assert (found.part, found.reason) == (0, "unmappable")
    assert found.message == "The event lacks the part that `root` names (rules/0/root)"


@pytest.mark.parametrize(
    ("policy", "end"),
    [({}, ("skipped", "no_family")), ({"no_family": "skip"}, ("skipped", "no_family")),
     ({"no_family": "reject"}, ("rejected", "unmappable"))],
)  # fmt: skip
@pytest.mark.parametrize("event", [{}, {"f": ""}, {"f": "other"}])
def test_an_event_without_family(
    policy: dict[str, str], end: tuple[str, str], event: object
) -> None:
    """It is judged before the code, which is missing too."""
    family = {"path": "f", "table": {"p": "packshots"}, "otherwise": "drop"}
    found = ended({"family": family, "code": "id", **policy}, event)
    assert (found.status, found.reason) == end
    assert "names no asset family" in found.message


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "The event has no code: id is absent or empty (code)"),
        ("", "The event has no code: id is absent or empty (code)"),
        ("a/b", "code: 'a/b' contains a slash; `as: code` makes a code of any text (code)"),
        ("a\u0007", "code: 'a\\x07' contains a control character; `as: code`"),
        ("x" * 256, f"code: '{'x' * 77}...' has 256 characters; at most 255"),
        (["a", "b"], "code: it must be one text (code)"),
        ({}, "code: id is an object: name what in it is meant (code)"),
        (True, "code: it must be one text (code)"),
    ],
)
def test_a_code_that_is_none_is_unmappable(code: object, message: str) -> None:
    """Nothing is folded or cut behind the author's back."""
    found = ended({"code": "id"}, {"id": code})
    assert (found.part, found.reason, found.family) == (0, "unmappable", "packshots")
    assert found.message.startswith(message)


@pytest.mark.parametrize(("code", "sent"), [(7, "7"), (" é\u2028b ", "é\u2028b"), ("x" * 255,) * 2])
def test_a_code_is_sent_as_it_is(code: object, sent: str) -> None:
    assert change({"code": "id"}, {"id": code}).code == sent


def test_a_family_that_is_none_is_unmappable() -> None:
    found = ended({"family": "f"}, {"f": "a/b"})
    assert found.message == "family: 'a/b' contains a slash (family)"


# --- deletes ---------------------------------------------------------------------------------


def test_a_delete_leaves_each_of_the_families() -> None:
    """They stand for the family that the event does not name."""
    spec = {**DELETES, "families": ["packshots", "ambient"], "family": "gone", "for_each": "ids"}
    found = parts_of({**spec, "code": "@"}, {"ids": ["a", "b"]})

    assert summary(found) == [
        "0 delete packshots/a",
        "0.1 delete ambient/a",
        "1 delete packshots/b",
        "1.1 delete ambient/b",
    ]
    assert {part.values for part in found if isinstance(part, Change)} == {None}


def test_an_upsert_takes_its_family_and_no_families() -> None:
    spec = {"families": ["ambient", "videos"]}
    assert summary(parts_of(spec, {})) == ["0 upsert packshots/a1"]


INSTEAD = {"set": {"status": "archived", "old": None}}


@pytest.mark.parametrize(
    ("do", "spec", "made"),
    [
        ("delete", {}, "0 delete packshots/a1"),
        ("delete", {"on_delete": "skip"}, "None skipped not_selected"),
        ("delete", {"on_delete": INSTEAD}, "0 upsert packshots/a1"),
        ("archive", {}, "None skipped not_selected"),
        ("archive", {"on_archive": "delete"}, "0 delete packshots/a1"),
        ("archive", {"on_archive": INSTEAD}, "0 upsert packshots/a1"),
        ("archive", {"on_delete": INSTEAD}, "None skipped not_selected"),
    ],
)
def test_on_delete_and_on_archive(do: str, spec: dict[str, Any], made: str) -> None:
    found = parts_of({**spec, "rules": [{"do": do}], "values": {"a": "a"}}, {"a": "1"})
    assert summary(found) == [made]
    if "upsert" in made:
        assert isinstance(found[0], Change)
        assert found[0].values == {"status": "archived", "old": None}


def test_a_skipped_delete_says_why() -> None:
    rules = [{"name": "gone", "do": "delete"}]
    assert ended({"on_delete": "skip", "rules": rules}, {}).message == (
        "`on_delete` is skip: the delete by rule gone changes nothing."
    )


# --- tombstones ------------------------------------------------------------------------------


def test_a_tombstone_is_skipped() -> None:
    found = ended({"where": {"a": 1}}, None, key={"id": "x"})
    assert (found.part, found.status, found.reason) == (None, "skipped", "not_selected")
    assert "tombstone" in found.message


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ({}, ["0 delete packshots/x"]),
        ({"families": ["p", "q"]}, ["0 delete p/x", "0.1 delete q/x"]),
        ({"on_delete": "skip"}, ["None skipped not_selected"]),
        ({"on_delete": INSTEAD}, ["0 upsert packshots/x"]),
        ({"code": "id"}, ["0 rejected unmappable"]),
        ({"rules": []}, ["0 delete packshots/x"]),
    ],
)
def test_a_tombstone_may_be_a_delete_before_any_rule(spec: dict[str, Any], made: list[str]) -> None:
    """Code and families see an empty event and the key."""
    asked = {
        "tombstones": "delete",
        "code": {"first_of": ["id", "$key.id"]} if "code" not in spec else "id",
        "where": {"never": 1},
        "only": {"never": 1},
        "rules": [{"do": "skip"}],
    }
    assert summary(parts_of({**asked, **spec}, None, key={"id": "x"})) == made


# --- context and facts -----------------------------------------------------------------------


def test_the_context_repeats_what_the_event_has_as_it_was_written() -> None:
    spec = {"context": {"n": "n", "o": "o", "gone": "gone", "null": "null"}}
    found = change(spec, b'{"n": 1.50, "o": {"x": [1e400, true]}, "null": null}')
    assert found.context is not None
    assert bytes(found.context) == b'{"n":1.50,"o":{"x":[1e400,true]},"null":null}'
    assert change({"context": {"gone": "gone"}}, {}).context is None


def test_a_context_over_4_kib_is_too_large() -> None:
    fits = "x" * (CONTEXT_BYTES_MAX - len('{"a":""}'))
    assert isinstance(change({"context": {"a": "a"}}, {"a": fits}).context, Raw)
    found = ended({"context": {"a": "a"}}, {"a": fits + "x"})
    assert (found.part, found.status, found.reason) == (0, "rejected", "too_large")
    deep = ended({"context": {"a": "a"}}, b'{"a":' + b"[" * 600 + b"]" * 600 + b"}")
    assert (deep.reason, "nests" in deep.message) == ("too_large", True)


EVENT_PATHS = {"id": "id", "type": "t", "source": "s", "subject": "length(s)", "time": "at"}


@pytest.mark.parametrize(
    ("at", "time"),
    [
        ('"2026-11-23T07:00:00Z"', "2026-11-23T07:00:00Z"),
        ('"2026-11-23t07:00:00.1234567+01:00"', "2026-11-23t07:00:00.1234567+01:00"),
        ("1795417200", "2026-11-23T07:00:00.000Z"),
        ("1795417200150", "2026-11-23T07:00:00.150Z"),
        ('"1795417200"', "2026-11-23T07:00:00.000Z"),
        (f'"2026-11-23T07:00:00.{"0" * 79}Z"', f"2026-11-23T07:00:00.{'0' * 79}Z"),
        (f'"2026-11-23T07:00:00.{"0" * 80}Z"', None),
        ("99999999999", "5138-11-16T09:46:39.000Z"),
        ("100000000000", "1973-03-03T09:46:40.000Z"),
        ('"2026-11-23T07:00:00"', None),
        ('"2026-11-23"', None),
        ('"2026-11-23t07:00:00z"', "2026-11-23t07:00:00z"),
        ('"2026-11-23 07:00:00Z"', "2026-11-23 07:00:00Z"),
        ('"2026-11-23T07:00:00,5Z"', None),
        ('"2026-11-23T07:00:00.Z"', None),
        ('"2026-11-23T07:00Z"', None),
        ('"2026-W48-1T07:00:00Z"', None),
        ('"2026-11-23T07:00:00+01:00:30"', None),
        ('"2026-11-23T07:00:00+24:00"', None),
        ('"20261123T070000Z"', None),
        ('"2026-11-23T07:00:00+0100"', None),
        ('"2026-13-23T07:00:00Z"', None),
        ('"yesterday"', None),
        ("1" * 30, None),
        ("1.5", None),
        ("true", None),
        ("{}", None),
    ],
)
def test_the_time_of_an_event(at: str, time: str | None) -> None:
    """RFC 3339 as it stands, epoch seconds and milliseconds; anything else is left out."""
    assert change({"event": EVENT_PATHS}, f'{{"at": {at}}}'.encode()).event.time == time


def test_facts_never_end_an_item() -> None:
    """What they lack, or cannot be, is left out."""
    event = {"id": 7, "t": ["x"], "s": None}
    assert change({"event": EVENT_PATHS}, event).event == EventFacts(id="7")
    long = change({"event": EVENT_PATHS}, {"id": "x" * 5000}).event.id
    assert long == "x" * 999 + "…"


def test_facts_start_where_the_rules_start() -> None:
    """The item's for `for_each` at the source, and also for what is skipped."""
    spec = {
        "event": {"id": "id"},
        "for_each": "items",
        "rules": [{"when": {"a": 1}, "do": "upsert"}],
    }
    found = parts_of(spec, {"id": "event", "items": [{"id": "x", "a": 1}, {"id": "y"}]})
    assert [part.event.id for part in found] == ["x", "y"]
    at_rule = {"event": {"id": "id"}, "rules": [{"for_each": "items", "do": "upsert"}]}
    found = parts_of(at_rule, {"id": "event", "items": [{"id": "x"}, {}]})
    assert [part.event.id for part in found] == ["event", "event"]
    assert ended({"event": {"id": "id"}, "where": {"a": 1}}, {"id": "x"}).event.id == "x"


def test_identity_is_the_dam_s_own_id_as_text() -> None:
    def identity(value: object, **spec: object) -> str | None:
        return mapped({**NAMED, "identity": "m.id", **spec}).identity(raw(value))

    assert identity({"m": {"id": " x "}}) == "x"
    assert identity({"m": {"id": 7}}) == "7"
    assert identity({"p": {"m": '{"id": "y"}'}}, unwrap=["p"], parse=["m"]) == "y"
    nones: list[object] = [
        {},
        {"m": {"id": ""}},
        {"m": {"id": {}}},
        {"m": {"id": True}},
        None,
        b"no",
    ]
    assert [identity(none) for none in nones] == [None] * len(nones)
    assert mapped(NAMED).identity(raw({})) is None


# --- read back -------------------------------------------------------------------------------

FETCH: dict[str, Any] = {
    "host": "dam",
    "url": "/media/{id}?v={n}",
    "delay_seconds": 5,
    "only": {"family": {"exists": True}},
}
READS: dict[str, Any] = {
    "identity": "id",
    "fetch": FETCH,
    "family": "family",
    "code": "$event.id",
    "values": {"label": "name"},
    "context": {"who": "$event.n", "what": "$fetched.name", "item": "$item.n"},
}
EVENT = {"id": "../a b?", "n": 1, "name": "thin"}
CODED = {**EVENT, "id": "a1"}


def test_a_thin_event_asks_the_dam() -> None:
    """Each placeholder is percent-encoded, slashes too."""
    (part,) = parts_of({**READS, "event": {"id": "n"}}, EVENT)

    assert isinstance(part, Read)
    assert (part.part, part.host, part.url) == (0, "dam", "/media/..%2Fa%20b%3F?v=1")
    assert (part.delay_seconds, part.not_found, part.event.id) == (5, "skip", "1")


def test_paths_start_from_the_answer() -> None:
    answer = {"family": "packshots", "name": "Boot"}
    (found,) = resumed(READS, CODED, answer)

    assert isinstance(found, Change)
    assert (found.family, found.code, found.values) == ("packshots", "a1", {"label": "Boot"})
    assert found.context is not None
    assert bytes(found.context) == b'{"who":1,"what":"Boot","item":1}'


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is empty"),
        (b"[]", "not an object"),
        (b"<html>", "is not valid JSON"),
        (b"null", "not an object"),
        (b"{", "is incomplete"),
        (b'{"a": "\xff"}', "is not UTF-8"),
        (b"[" * 200_000, "200,000 lists, objects and elements"),
    ],
)
def test_an_answer_that_is_not_an_object_is_told_why(body: bytes, why: str) -> None:
    """Such as the page of a login; whoever asked knows what that means for the host."""
    with pytest.raises(RecordEndedError) as raised:
        decode_fetched(body)
    assert why in raised.value.message


def test_an_answer_is_decoded_as_events_are() -> None:
    """A byte order mark at its beginning is no fault."""
    assert decode_fetched(b'{"n": 1.50}') == {"n": 1.5}
    assert decode_fetched(b'\xef\xbb\xbf{"n": 1}') == {"n": 1}


def test_an_answer_that_only_does_not_take_is_skipped() -> None:
    (found,) = resumed(READS, CODED, {"name": "Boot"})
    assert summary((found,)) == ["0 skipped not_selected"]


@pytest.mark.parametrize(
    ("fetch", "spec", "made"),
    [
        ({"not_found": "skip"}, {}, ["0 skipped not_found"]),
        ({"not_found": "reject"}, {}, ["0 rejected unmappable"]),
        (
            {"not_found": "delete"},
            {"families": ["p", "q"], "rules": [{"do": "upsert", "root": "x"}]},
            ["0 delete p/a1", "0.1 delete q/a1"],
        ),
        ({"not_found": "delete"}, {"family": "$item.name"}, ["0 delete thin/a1"]),
    ],
)
def test_an_asset_that_the_dam_no_longer_has(
    fetch: dict[str, Any], spec: dict[str, Any], made: list[str]
) -> None:
    asked = {**READS, **spec, "fetch": {**FETCH, **fetch}}
    assert summary(resumed(asked, CODED, NotFound())) == made


@pytest.mark.parametrize("event", [{"n": 1}, {"id": None, "n": 1}, {"id": ["x"], "n": 1}])
def test_without_an_id_nothing_is_asked(event: object) -> None:
    found = ended(READS, event)
    assert (found.part, found.reason) == (0, "unmappable")
    assert "fetch" in found.message


@pytest.mark.parametrize("dots", [".", ".."])
def test_an_id_cannot_climb_up_in_the_url(dots: str) -> None:
    """Percent-encoding leaves dots as they are."""
    found = ended(READS, {"id": dots, "n": 1})
    assert found.message == (
        f"fetch.url: id is {dots!r}, which would leave its place in the URL (fetch/url)"
    )


def test_what_is_read_back_is_decided_by_what_the_action_has_become() -> None:
    """Deletes read nothing; an archive that sets a value does."""
    rules = [{"when": {"op": "d"}, "do": "delete"}, {"do": "archive"}]
    spec = {**READS, "rules": rules, "family": {"const": "packshots"}}
    assert summary(parts_of(spec, {"op": "d", "id": "a"})) == ["0 delete packshots/a"]
    assert summary(parts_of(spec, CODED)) == ["None skipped not_selected"]
    archived = {**spec, "on_archive": INSTEAD, "family": "family"}
    (found,) = resumed(archived, CODED, {"family": "packshots", "name": "Boot"})
    assert isinstance(found, Change)
    assert found.values == {"status": "archived", "old": None}


def test_only_is_asked_before_the_rules() -> None:
    """What it leaves out is skipped, though a condition of a rule could not bear it."""
    spec = {"only": {"mine": True}, "rules": [{"when": {"length(n)": 1}, "do": "upsert"}]}
    assert summary(parts_of(spec, {"n": 1})) == ["None skipped not_selected"]
    assert summary(parts_of(spec, {"n": 1, "mine": True})) == ["None rejected unmappable"]


def test_an_answer_that_costs_too_much_ends_its_item() -> None:
    """It has a budget of its own."""
    spec = {**READS, "values": {f"v{n}": "words" for n in range(10)}}
    answer = {"family": "packshots", "words": [str(n) for n in range(100_000)]}
    (found,) = resumed(spec, CODED, answer)
    assert summary((found,)) == ["0 rejected too_large"]
