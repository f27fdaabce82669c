"""The raw events of the demo, and how their outcomes are counted."""

from collections import Counter

from service.mapping.file.load import Loaded, load
from service.mapping.results import Change, Ended, RawRecord
from service.playground.audit import audit_items
from service.playground.three_dams import SOURCES_FILE, TOPICS, items_of, raw_events


def test_the_sources_file_maps_each_item_once() -> None:
    """Every source has changes, and items that end in translate; the numbers are as promised."""
    loaded = load(SOURCES_FILE.encode(), "sources.yaml")
    assert isinstance(loaded, Loaded), loaded
    events = raw_events(300)
    parts: Counter[tuple[str, type]] = Counter()
    for number, event in enumerate(events):
        record = RawRecord(TOPICS[event.source], 0, number, event.key, event.value)
        mapped = loaded.sources[event.source].map(record).parts
        assert len(mapped) == event.items, event
        parts.update((event.source, type(part)) for part in mapped)
    assert parts.total() == items_of(events)
    assert {source for source, kind in parts if kind is Change} == set(TOPICS)
    assert {source for source, kind in parts if kind is Ended} == {"cloudinary", "bucket"}


def outcome(outcome_id: str, cause: str | None = None) -> dict[str, object]:
    """Return an outcome of `run` with that cause, or one of translate."""
    mapping = None if cause is not None else {"source": "bucket"}
    found: dict[str, object] = {"id": outcome_id, "data": {"mapping": mapping}}
    return found if cause is None else found | {"causationid": cause}


def test_items_are_counted_once_whoever_wrote_their_outcome() -> None:
    """What is there twice or not at all is told; outcomes of other events do not count."""
    own = outcome("dam.asset-changes/0/7", "evt-7")
    changed = outcome("dam.asset-changes/0/8", "dam.s3/0/1#0")
    ended = outcome("dam.s3/0/1#1")

    assert audit_items(2, [own, changed, ended]).flaws == []
    twice = audit_items(2, [own, changed, changed, ended])
    assert (twice.changes, twice.duplicates, twice.missing) == (1, 1, 0)
    lost = audit_items(3, [changed, ended])
    assert lost.flaws == ["1 items have no outcome."]
