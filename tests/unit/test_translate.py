"""How `translate` wires a source: its group, its names, its share of the limits."""

import pytest

from service.apps.source import hosts_of, kafka_of, names_of, read_seconds_max
from service.mapping.file.hosts import Host
from service.mapping.file.load import Loaded, load
from service.settings import Settings
from service.settings import load as load_settings

FILE = b"""
version: 1
hosts:
  dam: {base: "https://dam.example"}
  other: {base: "https://other.example"}
sources:
  s3:
    topics: [raw.a, raw.b]
    identity: id
    fetch: {host: dam, url: "/{id}"}
    family: {const: packshots}
    code: $event.id
    rules: [{do: upsert}]
"""


@pytest.fixture
def file() -> Loaded:
    """A file with one source, which reads back from one of two hosts."""
    found = load(FILE, "sources.yaml")
    assert isinstance(found, Loaded)
    return found


def settings(**given: str) -> Settings:
    """Settings without a PIM."""
    variables = {f"ASSET_SYNC_{name}": text for name, text in given.items()}
    return load_settings(variables, None, needs_pim=False).settings


def test_a_source_has_a_group_of_its_own(file: Loaded) -> None:
    """Its transactional ids have the same prefix, which the contract's permissions name."""
    found = kafka_of(settings(KAFKA__GROUP_ID="eu").kafka, "s3", file.model.sources["s3"])

    assert found.group_id == "eu.translate.s3"
    assert found.events_topic_names == ("raw.a", "raw.b")
    assert found.outcomes_topic == "pim.asset-outcomes"


@pytest.mark.parametrize(
    ("given", "changes", "outcomes"),
    [
        ({}, "/asset-sync/asset-sync/s3", "/asset-sync/asset-sync/s3"),
        ({"KAFKA__GROUP_ID": "a b"}, "/asset-sync/a%20b/s3", "/asset-sync/a%20b/s3"),
        ({"OUTCOMES__SOURCE": "/eu"}, "/asset-sync/asset-sync/s3", "/eu/s3"),
    ],
)
def test_what_its_events_are_named_by(given: dict[str, str], changes: str, outcomes: str) -> None:
    """The group in changes, the deployment's own name in outcomes."""
    found = names_of(settings(**given), "s3", "0123456789ab")

    assert (found.changes_source, found.outcomes_source) == (changes, outcomes)
    assert (found.source, found.file) == ("s3", "0123456789ab")


def test_the_sources_of_a_replica_share_what_may_be_pending() -> None:
    """So that memory does not grow with the file."""
    given = {"PIPELINE__MAX_PENDING_CHANGES": "100", "PIPELINE__MAX_PENDING_BYTES": "1MiB"}
    alone = settings(**given).translation_limits(1)
    shared = settings(**given).translation_limits(4)
    tiny = settings(PIPELINE__MAX_PENDING_CHANGES="1").translation_limits(4)

    assert (alone.pending_items_max, alone.pending_bytes_max) == (100, 1024 * 1024)
    assert (shared.pending_items_max, shared.pending_bytes_max) == (25, 256 * 1024)
    assert tiny.pending_items_max == 1


def test_only_the_hosts_of_the_source_are_used(file: Loaded) -> None:
    """Their secrets alone have to be there."""
    assert hosts_of(file.model.sources["s3"], file.model.hosts).keys() == {"dam"}


def test_a_source_may_wait_for_the_reads_of_all_that_share_its_host() -> None:
    """Else five sources of one DAM that hangs would make a replica unhealthy that only waits."""
    auth = {"oauth2": {"token_url": "https://dam", "client_id": "a", "client_secret": "b"}}
    plain = Host.model_validate({"base": "https://dam", "max_per_second": 4})
    client = Host.model_validate({"base": "https://dam", "max_per_second": 4, "auth": auth})
    sources = [["dam"], ["dam", "other"], ["other"], []]

    assert read_seconds_max({}, sources) == 0.0
    assert read_seconds_max({"dam": plain}, sources) == 2 * 2 * (30 + 1)
    assert read_seconds_max({"dam": plain, "other": client}, sources) == 2 * 6 * (30 + 1)
