"""Events as a DAM of product media sends them, the same in every run."""

import json
import random
from collections.abc import Iterator

from service.playground.local_system import Event

FAMILIES = ("packshots", "ambient", "videos", "manuals")
COLORS = ("red", "purple", "black", "white", "blue")
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
SEED = 7


def believable_events(count: int) -> list[Event]:
    """Return creates, updates by locale, bursts that merge, deletes, tombstones, and mistakes."""
    dam = _Dam(random.Random(SEED), count)  # noqa: S311 - the same events each time
    return list(dam.events())


class _Dam:
    def __init__(self, chance: random.Random, count: int) -> None:
        self._chance = chance
        self._count = count
        self._assets = max(4, count // 4)

    def events(self) -> Iterator[Event]:
        number = 0
        while number < self._count:
            family, code = self._pick()
            burst = 3 if self._chance.random() < 0.1 else 1
            for _ in range(min(burst, self._count - number)):
                yield self._event(family, code, number)
                number += 1

    def _pick(self) -> tuple[str, str]:
        number = self._chance.randrange(self._assets)
        return FAMILIES[number % len(FAMILIES)], f"dam_{number:05}"

    def _event(self, family: str, code: str, number: int) -> Event:
        key = f"{family}/{code}".encode()
        dice = self._chance.random()
        if dice < 0.005:
            return Event(key, b"\xff\xfe broken")
        if dice < 0.035:
            return Event(key, None)
        if dice < 0.06:
            return self._cloud(key, number, "asset.deleted", family, code, None)
        if dice < 0.065:
            return self._cloud(key, number, "folder.moved", family, code, {})
        if dice < 0.07:
            return self._cloud(key, number, "asset.updated", "pack_shots", code, {})
        values = self._values(number)
        if dice < 0.08:
            values["main_colors"] = ["teal"]  # no such option in the PIM
        elif dice < 0.085:
            values["colour_typo"] = "red"
        if dice < 0.15:
            plain = {"action": "upsert", "asset_family": family, "code": code, "values": values}
            return Event(key, json.dumps(plain).encode())
        return self._cloud(key, number, "asset.updated", family, code, values)

    def _values(self, number: int) -> dict[str, object]:
        chance = self._chance
        locale = chance.choice(("en_US", "fr_FR"))
        values: dict[str, object] = {
            "photographer": chance.choice(("ben_levy", "ann_chu", "li_wei")),
            "label": [{"locale": locale, "channel": None, "data": f"View {number}"}],
            "dam_url": f"l/{number}/original.jpg",
        }
        if chance.random() < 0.4:
            values["main_colors"] = chance.sample(COLORS, 2)
        if chance.random() < 0.3:
            values["usable"] = chance.random() < 0.9
        if chance.random() < 0.2:
            values["pages"] = chance.randrange(1, 40)
        if chance.random() < 0.1:
            values["photographer"] = None
        return values

    def _cloud(
        self,
        key: bytes,
        number: int,
        kind: str,
        family: str,
        code: str,
        values: dict[str, object] | None,
    ) -> Event:
        data: dict[str, object] = {
            "asset_family": family,
            "code": code,
            "context": {"dam_id": f"0A3C-{number}"},
        }
        if values is not None:
            data["values"] = values
        event = {
            "specversion": "1.0",
            "id": f"evt-{number}",
            "source": "/dam/acme",
            "type": f"com.acme.dam.{kind}.v1",
            "time": "2026-11-23T10:14:59Z",
            "data": data,
        }
        return Event(key, json.dumps(event).encode(), STRUCTURED)
