"""Checks outcomes against the events and the PIM's state (P1, P2).

The audit reads events by the contract alone and shares no rule with the service.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.playground.pim.assets import Asset

AssetKey = tuple[str, str]
Values = dict[tuple[str, str | None, str | None], object]
"""(attribute, locale, channel) → data as the PIM has it."""

FLAWS_SHOWN_MAX = 5


@dataclass
class Audit:
    """The numbers of a run; `flaws` is empty where they add up."""

    events: int
    statuses: Counter[str]
    duplicates: int
    missing: int
    assets_in_pim: int
    assets_expected: int
    flaws: list[str] = field(default_factory=list)


@dataclass
class ItemAudit:
    """The numbers of the items of raw records; each has one outcome, whoever wrote it."""

    items: int
    changes: int
    """Items that became changes."""
    duplicates: int
    missing: int

    @property
    def flaws(self) -> list[str]:
        """What does not add up, in sentences."""
        flaws = []
        if self.duplicates:
            flaws.append(f"{self.duplicates} outcomes of items are duplicates.")
        if self.missing:
            flaws.append(f"{self.missing} items have no outcome.")
        return flaws


def audit_items(count: int, outcomes: Sequence[Mapping[str, Any]]) -> ItemAudit:
    """Return the audit of `count` items by all outcomes, those of `run` and of `translate`."""
    changes = Counter(
        str(outcome["causationid"])
        for outcome in outcomes
        if outcome["data"]["mapping"] is None and "#" in outcome.get("causationid", "")
    )
    ended = Counter(outcome["id"] for outcome in outcomes if outcome["data"]["mapping"] is not None)
    ids = changes + ended
    duplicates = sum(times - 1 for times in ids.values())
    return ItemAudit(count, len(changes), duplicates, count - len(ids))


def audit(
    events: Mapping[tuple[int, int], bytes | None],
    outcomes: Sequence[Mapping[str, Any]],
    pim: Mapping[AssetKey, Asset],
) -> Audit:
    """Return the audit of a run.

    Args:
        events: values by (partition, offset).
        outcomes: every committed outcome.
        pim: the assets in the PIM.
    """
    ids = Counter(outcome["id"] for outcome in outcomes)
    expected = replay(events, outcomes)
    found = {key: shown(asset) for key, asset in pim.items()}
    result = Audit(
        events=len(events),
        statuses=Counter(outcome["data"]["status"] for outcome in outcomes),
        duplicates=sum(times - 1 for times in ids.values()),
        missing=len(events) - len(ids),
        assets_in_pim=len(found),
        assets_expected=len(expected),
    )
    if result.duplicates:
        result.flaws.append(f"{result.duplicates} outcomes are duplicates.")
    if result.missing:
        result.flaws.append(f"{result.missing} events have no outcome.")
    # The PIM may have applied a call that it did not answer: a failed change may be in its state.
    failed = {
        (outcome["data"]["asset_family"], outcome["data"]["code"])
        for outcome in outcomes
        if outcome["data"]["status"] == "failed"
    }
    different = [
        key
        for key in (found.keys() | expected.keys()) - failed
        if found.get(key) != expected.get(key)
    ]
    result.flaws += [
        f"{'/'.join(key)}: the PIM has {found.get(key)}, the outcomes say {expected.get(key)}."
        for key in sorted(different)[:FLAWS_SHOWN_MAX]
    ]
    return result


def replay(
    events: Mapping[tuple[int, int], bytes | None], outcomes: Sequence[Mapping[str, Any]]
) -> dict[AssetKey, Values]:
    """Return the assets that result from the applied changes, in the order of each partition."""
    assets: dict[AssetKey, Values] = {}
    by_offset = sorted(outcomes, key=lambda outcome: int(outcome["data"]["origin"]["offset"]))
    for data in (outcome["data"] for outcome in by_offset):
        if data["status"] != "applied":
            continue
        key = (data["asset_family"], data["code"])
        if data["action"] == "delete":
            assets.pop(key, None)
            continue
        value = events[data["origin"]["partition"], data["origin"]["offset"]]
        assert value is not None
        state = assets.setdefault(key, {})
        for scope, content in _entries(_values(json.loads(value))):
            state.pop(scope, None)
            if content is not None and content != []:
                state[scope] = content
    return assets


def shown(asset: Asset) -> Values:
    """Return the values of an asset in the PIM, without erased ones."""
    return {
        (attribute, locale, channel): data
        for attribute, entries in asset.values.items()
        for (locale, channel), data in entries.items()
        if data is not None
    }


def _values(event: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = (event if "action" in event else event["data"])["values"]
    return values


def _entries(values: dict[str, Any]) -> list[tuple[tuple[str, str | None, str | None], object]]:
    found: list[tuple[tuple[str, str | None, str | None], object]] = []
    for attribute, content in values.items():
        is_list = isinstance(content, list) and content and isinstance(content[0], dict)
        for entry in content if is_list else [{"data": content}]:
            data = entry["data"]
            if isinstance(data, int | float) and not isinstance(data, bool):
                data = str(data)
            found.append(((attribute, entry.get("locale"), entry.get("channel")), data))
    return found
