"""Publishes changes while something happens to the cluster, and accounts for each of them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import Any

import aiohttp

from service.playground.audit import AssetKey, Values, replay
from service.playground.local_system import Event, LocalSystem
from tests.support.proof import upsert
from tests.support.repeated import repeated

ASSETS = 40
BATCH = 20
PAUSE_SECONDS = 0.4
"""Between two batches: 50 changes a second, which two replicas take with ease."""


def traffic(system: LocalSystem) -> AbstractAsyncContextManager[None]:
    """Publish changes until the context ends."""
    changes = _changes(system)
    return repeated(lambda _: system.publish_events(islice(changes, BATCH)), PAUSE_SECONDS)


async def assert_each_has_one_outcome(system: LocalSystem) -> None:
    """Check that each published change has one outcome, and that the PIM has what they say."""
    outcomes = await system.outcome_data(len(system.published))
    ids = Counter(outcome["id"] for outcome in outcomes)
    assert [id_ for id_, times in ids.items() if times > 1] == []
    assert set(ids) == {
        f"{system.events}/{partition}/{offset}" for partition, offset in system.published
    }
    assert await _assets_in_pim(system) == replay(system.values(), outcomes)


def _changes(system: LocalSystem) -> Iterator[Event]:
    """Yield changes of a few assets, which only this system has; one in fifty is broken."""
    number = 0
    while True:
        asset = number % ASSETS
        family = "packshots" if asset % 2 else "manuals"
        code = f"{system.suffix}_{asset}"
        value = upsert(family, code, {"n": str(number), f"only_{number % 3}": f"v{number}"})
        broken = b"{broken %d" % number
        partition = asset % system.partitions
        key = f"{family}/{code}".encode()
        yield Event(key, broken if number % 50 == 7 else value, partition=partition)
        number += 1


async def _assets_in_pim(system: LocalSystem) -> dict[AssetKey, Values]:
    url = f"{system.pim_url}/_control/assets"
    async with aiohttp.ClientSession(trust_env=False) as session, session.get(url) as answer:
        assets: list[dict[str, Any]] = await answer.json()
    return {
        (asset["asset_family_code"], asset["code"]): _values(asset)
        for asset in assets
        if asset["code"].startswith(f"{system.suffix}_")
    }


def _values(asset: dict[str, Any]) -> Values:
    return {
        (attribute, entry["locale"], entry["channel"]): entry["data"]
        for attribute, entries in dict(asset["values"]).items()
        for entry in entries
    }
