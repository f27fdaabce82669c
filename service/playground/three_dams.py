"""Three DAMs that say changes in their own words, the same in every run: raw events for the demo.

Cloudinary sends signed webhooks. The objects of a bucket and the rows of a table are on raw topics.
"""

import json
import random
from collections.abc import Iterator
from typing import NamedTuple

SEED = 11
SECRET_NAME = "cloudinary_api_secret"  # noqa: S105 - only its name
SECRET = "the-demos-own"  # noqa: S105 - of a demo on loopback
WEBHOOK_PATH = "/cloudinary"
TOPICS = {
    "cloudinary": "dam.cloudinary",
    "bucket": "dam.s3",
    "table": "dam.public.assets",
}
SOURCES_FILE = """\
version: 1
tables:
  families: {packshots: packshots, ambient: ambient, videos: videos}
  colours: {Red: red, Purple: purple, Black: black}
sources:
  cloudinary:
    profile: cloudinary
    topics: [dam.cloudinary]
    webhook: {path: /cloudinary, verify: {cloudinary: {secret: cloudinary_api_secret}}}
    family: {path: asset_folder, part: top, table: families, otherwise: drop}
    code: asset_id
    values:
      label: {path: display_name, locale: en_US}
      main_colors: {path: metadata.colours, table: colours}
      publish_on: {path: created_at, date: iso}
    context: {public_id: public_id}
    rules:
      - {name: uploaded, when: {notification_type: upload}, do: upsert}
      - {name: deleted, when: {notification_type: delete}, for_each: resources, do: delete}
  bucket:
    profile: s3
    topics: [dam.s3]
    family: {path: s3.object.key, decode: url, part: top, table: families, otherwise: drop}
    code: {path: s3.object.key, decode: url, as: code}
    values:
      label: {path: s3.object.key, decode: url, part: stem, locale: en_US}
      dam_url: s3.object.key
  table:
    profile: debezium
    topics: [dam.public.assets]
    family: family
    families: [packshots, ambient]
    code: {first_of: [code, $key.code]}
    values:
      label: {path: title, locale: fr_FR}
      photographer: photographer
      usable: {path: rights_cleared, as: boolean}
"""


class RawEvent(NamedTuple):
    """An event in the words of its DAM."""

    source: str
    key: bytes | None
    value: bytes
    items: int
    """How many outcomes it asks for: each of its items has one."""


def raw_events(count: int) -> list[RawEvent]:
    """Return new, changed and deleted assets, assets of no family, and values without an option."""
    chance = random.Random(SEED)  # noqa: S311 - the same events each time
    makers = (_notification, _object, _row)
    return [makers[number % len(makers)](chance, number) for number in range(count)]


def _notification(chance: random.Random, number: int) -> RawEvent:
    asset = {"asset_id": f"cl{number % 60:03}", "asset_folder": _folder(chance)}
    if chance.random() < 0.2:
        other = {"asset_id": f"cl{chance.randrange(60):03}", "asset_folder": "logos"}
        event: dict[str, object] = {"notification_type": "delete", "resources": [asset, other]}
        return RawEvent("cloudinary", None, json.dumps(event).encode(), 2)
    colour = "Teal" if chance.random() < 0.1 else chance.choice(("Red", "Purple", "Black"))
    event = asset | {
        "notification_type": "upload",
        "request_id": f"r{number}",
        "public_id": f"{asset['asset_folder']}/{number}",
        "created_at": "2026-11-23T07:00:00Z",
        "display_name": f"View {number}",
        "metadata": {"colours": [colour]},
    }
    return RawEvent("cloudinary", None, json.dumps(event).encode(), 1)


def _object(chance: random.Random, number: int) -> RawEvent:
    kind = "ObjectRemoved:Delete" if chance.random() < 0.2 else "ObjectCreated:Put"
    keys = [f"{_folder(chance)}/A{chance.randrange(60)}+front.jpg" for _ in range(1 + number % 3)]
    records = [
        {"eventName": kind, "s3": {"bucket": {"name": "masters"}, "object": {"key": key}}}
        for key in keys
    ]
    return RawEvent("bucket", None, json.dumps({"Records": records}).encode(), len(records))


def _row(chance: random.Random, number: int) -> RawEvent:
    code = f"db{chance.randrange(60):03}"
    row = {
        "code": code,
        "family": "packshots" if code < "db030" else "ambient",
        "title": None if chance.random() < 0.1 else f"Vue {number}",
        "photographer": chance.choice(("ben_levy", "ann_chu")),
        "rights_cleared": chance.random() < 0.9,
    }
    event = {"op": "u", "before": None, "after": row}
    return RawEvent("table", json.dumps({"code": code}).encode(), json.dumps(event).encode(), 1)


def _folder(chance: random.Random) -> str:
    return chance.choice(("packshots", "ambient", "videos", "logos"))


def items_of(events: list[RawEvent]) -> int:
    """Return how many outcomes the events ask for."""
    return sum(event.items for event in events)


def by_source(events: list[RawEvent]) -> Iterator[tuple[str, list[RawEvent]]]:
    """Yield the events of each source, in order."""
    for source in TOPICS:
        yield source, [event for event in events if event.source == source]
