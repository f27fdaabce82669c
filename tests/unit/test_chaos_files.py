"""The files of the chaos run: which events name one, and which the PIM is found to have."""

import json

import pytest

from service.playground.local_system import Event
from service.playground.pim.assets import Asset
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample
from tests.chaos.files import SHARE, with_file, with_urls

HOST = "http://localhost:1"
CLOUD = {"specversion": "1.0", "data": {"values": {"pages": 1}}}
PLAIN = {"action": "upsert", "values": {"pages": 1}}


@pytest.mark.parametrize("content", [CLOUD, PLAIN])
def test_one_upsert_of_so_many_names_a_file(content: dict[str, object]) -> None:
    event = Event(b"a/b", json.dumps(content).encode())
    found = with_file(event, 3 * SHARE, HOST)

    assert b'{"pages": 1, "media": {"url": "http://localhost:1/3.jpg"}}' in (found.value or b"")
    assert with_file(event, 3 * SHARE + 1, HOST) == event


@pytest.mark.parametrize(
    "value", [None, b"\xff broken", b'{"data": {}}', b'{"data": {"values": {}}}']
)
def test_other_events_stay_as_they_are(value: bytes | None) -> None:
    assert with_file(Event(b"a/b", value), 0, HOST) == Event(b"a/b", value)


def test_files_are_found_as_events_name_them() -> None:
    """The PIM gives a file a code of its own at each upload."""
    pim = PimSimulator(sample())
    pim.media["code"] = f"{HOST}/3.jpg".encode()
    at = (None, None)
    pim.state["packshots", "has"] = Asset({"media": {at: "code"}})
    pim.state["packshots", "erased"] = Asset({"media": {at: None}})

    assert with_urls(pim) == {
        ("packshots", "has"): Asset({"media": {at: {"url": f"{HOST}/3.jpg"}}}),
        ("packshots", "erased"): Asset({"media": {at: None}}),
    }
