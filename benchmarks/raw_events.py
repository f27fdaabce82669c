"""Sources files and raw events of DAMs for the benches of translate.

The sources are those of the example file of the tests, and the events are made of its cases: both
are real.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from service.playground.local_system import Event

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "support" / "sources"
EXAMPLE: dict[str, Any] = yaml.safe_load((FOLDER / "example.yaml").read_text())
NINE: tuple[str, ...] = tuple(EXAMPLE["sources"])
ASSETS = 20_000
"""Distinct assets of the Cloudinary uploads."""


def topic_of(source: str, suffix: str) -> str:
    """Return the raw topic of a source."""
    return f"raw.{source}.{suffix}"


def sources_file(names: tuple[str, ...], suffix: str, dam_url: str = "") -> str:
    """Return a file with these sources of the example; its hosts are all at this URL."""
    host = {"base": dam_url, "allow_private": True, "max_per_second": 1000}
    hosts = dict.fromkeys(EXAMPLE["hosts"], host) if dam_url else {}
    sources = {
        name: {key: value for key, value in EXAMPLE["sources"][name].items() if key != "tests"}
        | {"topics": [topic_of(name, suffix)]}
        for name in names
    }
    file = {"version": 1, "tables": EXAMPLE["tables"], "hosts": hosts, "sources": sources}
    return json.dumps(file)


def uploads(count: int) -> Iterator[Event]:
    """Yield uploads as Cloudinary sends them, each about 700 bytes."""
    [upload] = [one for one in _tests("cloudinary") if one["name"] == "upload"]
    text = json.dumps(upload["record"]["value"])
    text = (
        text.replace("b5e6d2b3", "@asset@").replace("f00d", "@request@").replace("AB 12", "AB @n@")
    )
    before = text.split("@")
    for number in range(count):
        words = {
            "asset": f"b5e6{number % ASSETS:08x}",
            "request": f"{number:032x}",
            "n": str(number),
        }
        value = "".join(words.get(part, part) for part in before)
        yield Event(None, value.encode())


def events_of(source: str, count: int) -> Iterator[Event]:
    """Yield events of a source: those of its cases, in turn."""
    records = [raw_event(test["record"]) for test in _tests(source)]
    for number in range(count):
        yield records[number % len(records)]


def answers() -> list[dict[str, Any]]:
    """Return what the DAMs of the example answer when an asset is read back."""
    return [test["fetched"] for source in NINE for test in _tests(source) if test.get("fetched")]


def all_tests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each test of the cases, with the source that it is of."""
    for path in sorted((FOLDER / "cases").glob("*.json")):
        case = json.loads(path.read_text())
        for test in case["tests"]:
            yield case["source"], test


def _tests(source: str) -> list[dict[str, Any]]:
    return [test for name, test in all_tests() if name == source]


def raw_event(record: dict[str, Any]) -> Event:
    """Return the raw event that a test describes."""
    headers = tuple((name, text.encode()) for name, text in (record.get("headers") or {}).items())
    return Event(_json(record.get("key")), _json(record.get("value")), headers)


def _json(given: object) -> bytes | None:
    return None if given is None else json.dumps(given).encode()
