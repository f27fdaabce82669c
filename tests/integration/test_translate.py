"""Raw records become changes exactly once: `translate` between raw topics, a DAM and `run`."""

import asyncio
import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.adapters.telemetry.catalogue import BY_NAME
from service.adapters.telemetry.translate_catalogue import SHARED, TRANSLATE_CATALOGUE
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support.raw import Item, RawSystem, bucket_records, raw_system, thin_records
from tests.support.service import aside

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


@pytest.fixture
async def system(bootstrap: str, tmp_path: Path) -> AsyncIterator[RawSystem]:
    """A system with two sources, and a PIM of two families."""
    pim = PimSimulator(free("packshots", "manuals"))
    async with raw_system(bootstrap, tmp_path, pim) as made:
        yield made


async def publish_both(system: RawSystem, count: int) -> None:
    """Publish so many raw records for each source."""
    await system.publish_raw("bucket", bucket_records(count, system.partitions))
    await system.publish_raw("thin", thin_records(count, system.partitions))


# --- every part once -------------------------------------------------------------------------


async def test_raw_records_reach_the_pim(system: RawSystem) -> None:
    """Two sources, of which one reads back; every part ends once, and the PIM has the last state.

    1,000 events of 20 assets are few reads, because those of one poll are shared.
    """
    await system.publish_raw("bucket", bucket_records(300, system.partitions))
    await system.publish_raw("thin", thin_records(1000, system.partitions))
    system.start_translate()
    system.start()

    outcomes = await system.assert_translated_once()
    await system.assert_carried()

    assert {one["source"].rpartition("/")[2] for one in outcomes} == {"bucket", "thin"}
    assert system.dam.reads.total() < 500
    assert "Traceback" not in system.logs()


@pytest.mark.parametrize("moment", ["begun", "sent", "offsets", "committed"])
async def test_a_kill_at_each_moment_of_a_transaction(system: RawSystem, moment: str) -> None:
    """Whoever comes next aborts what is open, and makes the same changes with the same ids."""
    await publish_both(system, 300)
    few = {"PIPELINE__MAX_PENDING_CHANGES": "40"}  # so that there are many transactions
    doomed = system.start_doomed(moment, 5, "translate", **few)
    assert await asyncio.to_thread(doomed.wait, 60) == -signal.SIGKILL, system.logs()[-3000:]
    system.start_translate()

    await system.assert_translated_once()


async def test_a_second_replica_joins_and_another_is_stopped(system: RawSystem) -> None:
    """Rebalances and a drain under load neither repeat nor lose; the drain ends with 0."""
    system.dam.seconds = 0.05
    first = system.start_translate()
    await publish_both(system, 1000)
    await system.changes(100, quiet_seconds=0)
    system.start_translate()
    await publish_both(system, 1000)
    await asyncio.sleep(2)
    code = await asyncio.to_thread(first.stop, 40)

    await system.assert_translated_once()
    assert code == 0, system.logs()[-3000:]
    assert '"service.drained"' in system.logs()


async def test_a_paused_replica_wakes_up_fenced(system: RawSystem) -> None:
    """SIGSTOP past the session: what it wakes with is void."""
    system.dam.seconds = 0.2
    sleeper = system.start_translate()
    await publish_both(system, 2000)
    await system.changes(100, quiet_seconds=0)
    sleeper.send_signal(signal.SIGSTOP)
    system.start_translate()
    await asyncio.sleep(5)
    sleeper.send_signal(signal.SIGCONT)

    await system.assert_translated_once()


async def test_a_record_of_a_thousand_items(system: RawSystem) -> None:
    """It is written whole, with a change for each item, in order."""
    items: list[Item] = [
        {"family": "packshots", "code": f"a{number % 100}", "label": f"L{number}"}
        for number in range(1000)
    ]
    await system.publish_raw("bucket", [(0, items)])
    system.start_translate()
    system.start()

    await system.assert_translated_once()
    await system.assert_carried()


# --- one source stops, the others go on ------------------------------------------------------


async def test_a_wrong_mapping_stops_its_source_alone(system: RawSystem) -> None:
    """Most items would be dead letters: nothing more of the source is written until `release`."""
    teal: list[Item] = [{"family": "packshots", "code": "a", "label": "L", "colour": "Teal"}]
    system.start_translate()
    await system.publish_raw("bucket", [(number % 3, teal) for number in range(1200)])
    reached = 'asset_sync_translate_dead_letter_limit_reached{source="bucket"} 1.0'
    await system.until("/metrics", lambda text: reached in text)
    await system.publish_raw("thin", thin_records(60, system.partitions))
    stopped = await system.until("/readyz?verbose", lambda text: "bucket waits" in text)
    assert "asset-sync release --source bucket" in stopped
    assert (await system.get("/livez"))[0] == 200
    outcomes = await system.outcome_data(500 + 6)
    assert Counter(one["data"]["reason"] for one in outcomes)["unmappable"] == 500
    withheld = 'asset_sync_translate_withheld_items{source="bucket"} 700.0'
    await system.until("/metrics", lambda text: withheld in text)

    port = (await system.url()).rpartition(":")[2]
    unnamed = await aside(system, "release", "--port", port)
    released = await aside(system, "release", "--port", port, "--source", "bucket")

    assert (unnamed.returncode, b"one of bucket, thin" in unnamed.stderr) == (1, True)
    assert released.returncode == 0, released.stderr
    assert b"700 dead letters, unmappable" in released.stdout, "those of 1,200 beyond the limit"
    assert b"\nResumed. " in released.stdout
    await system.assert_translated_once()
    letters = await system.read(system.dead_letters, 1200)
    assert len(letters) == 1200
    assert {headers["dlq.parts"] for _, _, headers in letters} == {b"0"}


async def test_a_dam_that_is_down_stops_its_source_alone(system: RawSystem) -> None:
    """The source waits and says so; no event fails; when the DAM is back, all goes on."""
    system.dam.status = 503
    system.start_translate(PIPELINE__MAX_PENDING_CHANGES="200")
    await system.publish_raw("thin", thin_records(600, system.partitions))
    waiting = await system.until("/readyz?verbose", lambda text: "thin waits: The DAM" in text)
    assert "The host dam" in waiting
    await system.publish_raw("bucket", bucket_records(100, system.partitions))
    series = 'asset_sync_translated_records_total{source="bucket"} 100.0'
    await system.until("/metrics", lambda text: series in text)
    _, text = await system.get("/metrics")
    assert 'asset_sync_host_failing{host="dam",source="thin"} 1.0' in text
    assert (await system.get("/livez"))[0] == 200
    tried = system.dam.reads.total()
    await asyncio.sleep(3)
    assert system.dam.reads.total() - tried < 10, "one read at a time"

    system.dam.status = 200

    await system.assert_translated_once()


async def test_an_asset_that_the_dam_fails_on_is_given_up(system: RawSystem) -> None:
    """Others are read meanwhile, so the failure is its own; its partition goes on afterwards."""
    system.dam.sick = frozenset({"t3"})
    records = thin_records(100, system.partitions)
    ids = await system.publish_raw("thin", records)
    system.start_translate(RETRY__MAX_ATTEMPTS="2", RETRY__MAX_SECONDS="2")

    failed = [one for one, (_, items) in zip(ids, records, strict=True) if items[0]["id"] == "t3"]
    outcomes = await system.outcome_data(len(failed) + 10)
    reasons = Counter((one["data"]["status"], one["data"]["reason"]) for one in outcomes)
    assert reasons == {("failed", "fetch_failed"): len(failed), ("skipped", "not_found"): 10}
    assert len(await system.changes(90 - len(failed))) == 90 - len(failed)


# --- replay ----------------------------------------------------------------------------------


async def test_a_replay_treats_the_items_that_died(system: RawSystem) -> None:
    """After the mapping was corrected; the outcome of `run` names that of the item.

    An item is left out whose asset has a later change that was applied.
    """
    teal: Item = {"colour": "Teal", "family": "packshots"}
    items: list[Item] = [
        {"family": "packshots", "code": "a", "label": "one"},
        teal | {"code": "b", "label": "two"},
        teal | {"code": "c", "label": "old"},
    ]
    later: list[Item] = [{"family": "packshots", "code": "c", "label": "new"}]
    [record_id, _] = await system.publish_raw("bucket", [(1, items), (1, later)])
    translate = system.start_translate()
    system.start()
    await system.assert_translated_once()
    await system.assert_carried()
    await asyncio.to_thread(translate.stop, 30)
    text = system.sources_file.read_text()
    system.write_sources(text.replace("Red: red", "Teal: teal, Red: red"))

    replayed = await aside(system, "dead-letters", "replay")

    assert (replayed.returncode, replayed.stdout) == (0, b"1 replayed\n"), replayed.stderr
    system.start_translate()
    outcomes = [one["data"] for one in await system.outcome_data(2 + 2 + 1)]
    [again] = [one for one in outcomes if one["replay_of"] is not None]
    assert (again["status"], again["code"]) == ("applied", "b")
    assert again["replay_of"] == f"{record_id}#1"
    assert system.pim.state["packshots", "c"].values["label"][None, None] == "new"
    again_replayed = await aside(system, "dead-letters", "replay")
    assert again_replayed.stdout == b"0 replayed; left out: 1 replayed\n"


# --- the program -----------------------------------------------------------------------------


async def test_its_metrics_are_in_the_catalogue(system: RawSystem) -> None:
    """They add up with what was published."""
    await publish_both(system, 100)
    system.start_translate()
    await system.assert_translated_once()
    _, text = await system.get("/metrics")

    found = {family.name: family for family in text_string_to_metric_families(text)}
    known = [*TRANSLATE_CATALOGUE, *(BY_NAME[name] for name in SHARED)]
    names = {metric.full_name.removesuffix("_total") for metric in known}
    assert {name for name in found if name.startswith("asset_sync_")} == names
    items = sum(sample.value for sample in found["asset_sync_translated_items"].samples)
    assert items == len(system.expected())
    ready = (await system.get("/readyz?verbose"))[1]
    assert "[+]bucket group ok" in ready
    idle = await system.until("/livez?verbose", lambda text: text.count(" idle: 0 to read") == 6)
    assert "[+]thin progress ok" in idle
    document = json.loads((await system.get("/asyncapi?format=json"))[1])
    assert {"raw_bucket", "raw_thin"} <= document["channels"].keys()


async def test_only_the_chosen_sources_are_translated(system: RawSystem) -> None:
    """To scale one source by itself; with a name, its membership is static."""
    await publish_both(system, 50)
    system.start_translate(TRANSLATE__SOURCES="thin", KAFKA__GROUP_INSTANCE_ID="t-0")
    thin = await system.changes(40)
    assert {json.loads(one.value)["source"].rpartition("/")[2] for one in thin} == {"thin"}
    system.start_translate(TRANSLATE__SOURCES="bucket")

    await system.assert_translated_once()


WITHOUT_SECRET = """
version: 1
hosts: {dam: {base: "https://dam.example", auth: {bearer: dam_token}}}
sources:
  a:
    topics: [x]
    identity: id
    fetch: {host: dam, url: "/{id}"}
    family: {const: f}
    code: $event.id
    rules: [{do: upsert}]
"""
FAILING_TEST = """
version: 1
sources:
  a:
    topics: [x]
    family: {const: f}
    code: id
    rules: [{do: upsert}]
    tests:
      - {name: wrong, record: {value: {id: b}}, expect: [{upsert: f/c}]}
"""


@pytest.mark.parametrize(
    ("text", "settings", "found"),
    [
        ("version: 1\nsources: {a: {topics: [x], cod: y}}\n", {}, r"sources.yaml:2:\d+: .*cod"),
        (None, {"TRANSLATE__SOURCES": "buckit"}, "no source buckit. It has bucket, thin"),
        (None, {"SOURCES_FILE": ""}, "SOURCES_FILE is required"),
        (None, {"SOURCES_FILE": "nowhere.yaml"}, "nowhere.yaml cannot be read"),
        (WITHOUT_SECRET, {}, "The secret dam_token is missing"),
        (FAILING_TEST, {}, "the test `wrong` fails"),
    ],
    ids=["fault", "unknown source", "no file", "unreadable file", "secret", "test"],
)
async def test_what_it_cannot_start_with_is_said(
    system: RawSystem, text: str | None, settings: dict[str, str], found: str
) -> None:
    """The exit code is 2, and the message names the place."""
    if text is not None:
        system.write_sources(text)
    ended = await aside(system, "translate", **settings)

    assert ended.returncode == 2, ended.stderr
    assert re.search(found, ended.stderr.decode()), ended.stderr
    assert b"Traceback" not in ended.stderr


async def test_a_missing_topic_is_named(system: RawSystem) -> None:
    """The exit code is 1."""
    ended = await aside(system, "translate", TRANSLATE__TOPIC="nowhere")

    assert ended.returncode == 1
    assert b"Topic nowhere does not exist" in ended.stderr
