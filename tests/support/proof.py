"""Checks the end of a run: one outcome per record, whole dead letters, the PIM as replayed.

The checks know the contract and the playground's replay, and share no rule with the service.
"""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from service.playground.audit import replay, shown
from tests.support.service import Input, SystemUnderTest


def upsert(family: str, code: str, values: dict[str, object]) -> bytes:
    """Return the bytes of a plain event."""
    event = {"action": "upsert", "asset_family": family, "code": code, "values": values}
    return json.dumps(event).encode()


def events(count: int, assets: int, partitions: int, pad: int = 0) -> list[Input]:
    """Return upserts of a few assets, with changing values; tombstones; broken bytes.

    Each upsert is larger by `pad` characters.
    """
    made: list[Input] = []
    for number in range(count):
        asset = number % assets
        family = "packshots" if asset % 2 else "manuals"
        code = f"a{asset}"
        value: bytes | None = upsert(
            family, code, _values(number) | ({"pad": "x" * pad} if pad else {})
        )
        if number % 50 == 7:
            value = b"{broken %d" % number
        elif number % 10 == 3:
            value = None
        made.append((asset % partitions, f"{family}/{code}".encode(), value))
    return made


def _values(number: int) -> dict[str, object]:
    locale = ("en_US", "fr_FR")[number % 2]
    caption = None if number % 7 == 0 else f"Vue {number}"
    return {
        "n": str(number),
        f"only_{number % 3}": f"v{number}",
        "caption": [{"locale": locale, "channel": None, "data": caption}],
    }


async def assert_exactly_once(
    system: SystemUnderTest, count: int, seconds: float = 120.0
) -> list[dict[str, Any]]:
    """Check P1, P2 and P3 for everything that was published; return the outcomes."""
    outcomes = await system.outcome_data(count, seconds)
    ids = Counter(outcome["id"] for outcome in outcomes)
    repeated = [id_ for id_, times in ids.items() if times > 1]
    assert repeated == [], system.logs()[-3000:]
    expected = {f"{system.events}/{record_id}/{offset}" for record_id, offset in system.published}
    assert set(ids) == expected, (len(ids), len(expected), system.logs()[-5000:])
    data = [outcome["data"] for outcome in outcomes]
    assert {key: shown(asset) for key, asset in system.pim.state.items()} == replay(
        system.values(), outcomes
    )
    await assert_dead_letters_whole(system, data)
    return outcomes


async def assert_dead_letters_whole(
    system: SystemUnderTest, outcomes: Iterable[dict[str, Any]]
) -> None:
    """Check that each rejected or failed record is a dead letter once, byte for byte."""
    bad = [data["origin"] for data in outcomes if data["status"] in {"rejected", "failed"}]
    wanted = Counter(system.published[origin["partition"], origin["offset"]] for origin in bad)
    found = await system.read(system.dead_letters, len(bad))
    assert Counter((key, value) for key, value, _ in found) == wanted
    record_ids = {
        (int(headers["dlq.original.partition"]), int(headers["dlq.original.offset"]))
        for _, _, headers in found
    }
    assert record_ids == {(origin["partition"], origin["offset"]) for origin in bad}
