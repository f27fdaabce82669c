"""Outcomes are read leniently: what may grow within v1 hides none of them (contract.md §5)."""

import json
from typing import Any

import jsonschema
import pytest

from service.adapters.telemetry.recent_outcomes import RecentOutcomes
from service.contracts.outcome_reader import read_outcome
from service.contracts.schema import schema
from service.core.facts import TransactionCommitted
from service.core.group.asset_work import Ending
from service.core.model import Change, Rejection
from service.core.read.convert import convert
from service.core.records import CompletedChange
from service.core.settle.report import Reporter
from service.core.verdict_types import PimResponse
from tests.support.builders import cloud, decoded

CONTEXTS = [
    {"dam_id": "0A3C-77"},
    {},
    {"n": int("9" * 4000)},
    {"deep": json.loads("[" * 400 + "]" * 400)},
    {"text": 'control \x00, quote ", \U0001f4f7'},
]


def settled(context: object = None) -> CompletedChange:
    """The outcome of a change that was applied, whose event carries this context."""
    source = cloud(
        data={"asset_family": "packshots", "code": "a", "values": {}, "context": context}
    )
    change = decoded(source)
    command = convert(change)
    assert not isinstance(command, Rejection)
    admitted = Change(source, source.size, command, change.event, (), 0.0, 0, attempts=1)
    ending = Ending("applied", "created", response=PimResponse(201))
    return Reporter("/asset-sync/test").of_change(admitted, ending, 1_795_000_000_000)


def grown(**members: object) -> bytes:
    """An outcome whose data has these members, instead or beside."""
    outcome: dict[str, Any] = json.loads(settled().outcome.value or b"")
    outcome["data"] |= members
    return json.dumps(outcome).encode()


@pytest.mark.parametrize("context", CONTEXTS)
def test_no_context_hides_an_outcome(context: object) -> None:
    """The contract's own example has one."""
    outcome = read_outcome(settled(context).outcome.value)
    assert outcome is not None
    assert (outcome.id, outcome.subject, outcome.data.status) == (
        "events/0/0", "packshots/a", "applied",
    )  # fmt: skip


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_status_page_shows_outcomes_with_a_context(context: object) -> None:
    """It answered 500."""
    recent_outcomes = RecentOutcomes()
    recent_outcomes.note(TransactionCommitted(1, 0.1, (settled(context),)))
    assert [row["asset"] for row in recent_outcomes.show()["recent_outcomes"]] == ["packshots/a"]


GROWN: list[dict[str, object]] = [
    {"reason": "virus_found"},
    {"result": "renamed"},
    {"attachments": {"file": "x"}},
    {"media": [{"attribute": "a", "url": "https://h/f", "result": "quarantined"}]},
    {"errors": [{"message": "m", "hint": 7}, "text"]},
    {"pim": {"status_code": 200, "warnings": []}},
    {"event": {"id": None, "context": [1], "sequence": 4}},
]


@pytest.mark.parametrize("members", GROWN)
def test_what_is_added_within_v1_hides_no_outcome(members: dict[str, object]) -> None:
    """A future version of the service writes to the same topic."""
    outcome = read_outcome(grown(**members))
    assert outcome is not None
    assert outcome.data.reason == members.get("reason")
    assert outcome.data.result == members.get("result", "created")


@pytest.mark.parametrize("members", GROWN[:4])
def test_the_published_schema_takes_what_is_added_within_v1(members: dict[str, object]) -> None:
    """Validators that others made from it go on working."""
    jsonschema.validate(json.loads(grown(**members)), schema("outcomes"))


def test_the_published_schema_closes_the_statuses() -> None:
    """A reader may rely on them."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(grown(status="postponed")), schema("outcomes"))


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b"7", b"\xff\xfe", b"{}", b'{"id":"a"}', b'{"id":"a","data":{}}',
        b'{"id":"a","data":{"status":7}}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_outcome_is_none(value: bytes | None) -> None:
    """Whatever lies on the topic, reading goes on."""
    assert read_outcome(value) is None
