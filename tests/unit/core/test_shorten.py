"""What others wrote into an outcome does not hinder its shortening (contract §5)."""

import json

import pytest
from msgspec import Raw

from service.contracts.outcome import SourceEvent
from service.core.group.asset_work import Ending
from service.core.model import Asset, Change, Origin, Partition, SourceRecord, UpsertAsset
from service.core.records import LogRecord
from service.core.settle.report import Reporter
from service.core.settle.shorten import shortened
from service.core.verdict_types import PimResponse

FOREIGN = [b'{"n":%s}' % (b"9" * 4000), b'{"n":1e999}', b'{"n":%s}' % (b"[" * 400 + b"]" * 400)]


def outcome_of(foreign: bytes) -> LogRecord:
    """An outcome with this as its event's context and as an error of the PIM."""
    source = SourceRecord(Origin(Partition("events", 0), 7, 0), b"f/c", b"{}")
    event = SourceEvent(id="i" * 300, context=Raw(foreign))
    command = UpsertAsset(Asset("f", "c"), {}, 2)
    change = Change(source, 2, command, event, (), 0.0, 0, attempts=1)
    response = PimResponse(422, "m" * 300, (Raw(foreign),))
    ending = Ending("rejected", reason="refused_by_pim", response=response)
    return Reporter("/asset-sync/test").of_change(change, ending, 0).outcome


@pytest.mark.parametrize("foreign", FOREIGN)
def test_numbers_and_depths_of_others_do_not_hinder(foreign: bytes) -> None:
    """A number of thousands of digits ended the service, where a topic took less than it."""
    whole = outcome_of(foreign)
    short = shortened(whole)
    assert short is not None
    written, before = json.loads(short.value or b""), json.loads(whole.value or b"")
    assert written["id"] == before["id"]
    data = written["data"]
    assert (data["event"]["id"], data["event"]["context"]) == ("i" * 200, None)
    assert (data["errors"], data["errors_truncated"]) == ([], True)
    assert data["pim"] == {"status_code": 422, "message": "m" * 200, "errors": []}
    assert len(data["message"]) == 200
    unchanged = ("status", "reason", "asset_family", "code", "attempts", "replay_of")
    assert {name: data[name] for name in unchanged} == {
        name: before["data"][name] for name in unchanged
    }
    assert shortened(short) is None
