"""How a value was made, step by step, for `mapping explain`."""

from typing import Any

from service.mapping.results import Change
from service.mapping.trace import Trace
from tests.support.mapping import NAMED, mapped, raw

SPEC: dict[str, Any] = {
    **NAMED,
    "code": {"path": "id", "as": "code"},
    "values": {
        "colours": {"path": "c", "split": ",", "table": "colours", "default": "none"},
        "label": {"first_of": ["t", "u"], "locale": {"path": "l", "table": "locales"}},
    },
}


def test_a_trace_names_line_source_steps_and_what_is_sent() -> None:
    trace = Trace()
    source = mapped(SPEC, trace)
    source.map(raw({"id": "a b", "c": "Red, Rot", "u": "U", "l": "en"}))

    assert [(row.label, row.where, row.source) for row in trace.rows] == [
        ("family", "family", "const"),
        ("code", "code", "id"),
        ("colours", "values/colours/0", "c"),
        ("label.locale", "values/label/0/locale", "l"),
        ("label", "values/label/0", "t or u"),
    ]
    colours = trace.rows[2]
    assert colours.found == "Red, Rot"
    assert colours.steps == [("split", ["Red", "Rot"]), ("table", ["red", "red"])]
    assert (colours.sent, colours.is_sent) == (["red"], True)


def test_a_trace_ends_where_the_item_ended() -> None:
    trace = Trace()
    source = mapped(SPEC, trace)
    source.map(raw({"id": "a", "c": "Teal"}))
    assert (trace.rows[-1].label, trace.rows[-1].is_sent) == ("colours", False)
    trace.clear()
    source.map(raw({"id": "a"}))
    assert trace.rows[2].sent == "none"


def test_a_traced_source_maps_like_any_other() -> None:
    record = raw({"id": "a b", "c": "Red, Rot", "t": "T", "l": "fr"})
    assert mapped(SPEC, Trace()).map(record) == mapped(SPEC).map(record)


def test_a_boolean_without_steps_is_traced_as_itself() -> None:
    """Only steps work on texts."""
    trace = Trace()
    source = mapped({**NAMED, "values": {"usable": "ok"}}, trace)
    (change,) = source.map(raw({"ok": True})).parts

    assert isinstance(change, Change)
    assert change.values == {"usable": True}
    assert trace.rows[-1].sent is True
