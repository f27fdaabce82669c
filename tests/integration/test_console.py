"""`asset-sync console` as a process, on a real broker: nothing is missing and nothing doubled."""

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete

from service.playground.embedded_kafka import EmbeddedKafka
from tests.support.admin import admin_of
from tests.support.console import ConsoleUnderTest, outcome, read_page
from tests.support.processes import is_running
from tests.support.service import SystemUnderTest

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


@pytest.fixture
async def console(bootstrap: str, tmp_path: Path) -> AsyncIterator[ConsoleUnderTest]:
    """Yield the topic of a console that is not started yet."""
    made = ConsoleUnderTest(bootstrap, tmp_path)
    await made.create_topic()
    yield made
    made.end()


async def until_indexed(console: ConsoleUnderTest, count: int, seconds: float = 90.0) -> None:
    """Wait until the newest console has exactly so many outcomes and nothing more to read."""
    text = ""
    try:
        async with asyncio.timeout(seconds):
            while not (
                f"asset_sync_console_index_outcomes {float(count)}\n" in text
                and "asset_sync_console_lag 0.0\n" in text
            ):
                text = await console.metrics()
                await asyncio.sleep(0.1)
    except TimeoutError:
        shown = [line for line in text.splitlines() if line.startswith("asset_sync_console")]
        raise AssertionError("\n".join([*shown, console.logs()[-3000:]])) from None


async def all_codes(console: ConsoleUnderTest, query: str) -> Counter[str]:
    """Return the codes of the hits on all pages of a search."""
    found: Counter[str] = Counter()
    path = f"/?{query}"
    while True:
        status, text = await console.get(path)
        assert status == 200, text
        found.update(re.findall(r"asset\?family=packshots&amp;code=(sku_\d+)", text))
        following = [
            given["href"]
            for name, given in read_page(text).elements
            if name == "a" and given.get("rel") == "next"
        ]
        if not following:
            return found
        path = f"/{(following[0] or '').removeprefix('./')}"


async def test_an_asset_is_found_by_all_that_people_know_of_it(console: ConsoleUnderTest) -> None:
    process = console.start(
        CONSOLE__DAM_LINK="https://dam.example/{context.dam_id}",
        CONSOLE__USER_HEADER="X-Forwarded-User",
    )
    refused = outcome(
        7,
        status="rejected",
        result=None,
        reason="refused_by_pim",
        message="The <b>PIM</b> refused it.",
        errors=[{"attribute": "caption", "locale": "en_US", "message": "too long"}],
    )
    await console.write([outcome(n) for n in range(50)] + [refused, b"no outcome", b"{}"])
    await until_indexed(console, 51)
    ann = {"X-Forwarded-User": "ann"}

    for query in ("code=SKU_7", "code=packshots/sku_7", "id=dam-7", "id=evt-7", "id=events/0/7"):
        status, page = await console.get(f"/?{query}", **ann)
        assert status == 200
        assert "Not in the PIM: the change was rejected" in page, query
        assert "The &lt;b&gt;PIM&lt;/b&gt; refused it." in page
        assert "https://dam.example/DAM-7" in page
        assert "Who must act: content people." in page
    _, page = await console.get("/?ending=problems&family=packshots", **ann)
    assert page.count("In the PIM: the asset") == 0
    assert page.count("<tr ") == 2
    _, page = await console.get("/asset?family=packshots&code=sku_7", **ann)
    assert page.index("rejected: refused_by_pim") < page.index("applied: updated")
    assert (await console.get("/?code=sku_7"))[0] == 403

    metrics = await console.metrics()
    for line in (
        'asset_sync_console_rebuilds_total{why="missing"} 1.0',
        "asset_sync_console_indexed_total 51.0",
        "asset_sync_console_ignored_total 2.0",
        'asset_sync_console_pages_total{answer="403"} 1.0',
        'asset_sync_console_search_duration_seconds_count{kind="exact"} 3.0',
        "asset_sync_console_kafka_reachable 1.0",
    ):
        assert line in metrics, line
    assert process.stop(20) == 0
    assert "The <b>PIM</b>" not in console.logs(), "no message of an outcome is logged"
    console.start(CONSOLE__USER_HEADER="X-Forwarded-User")
    await until_indexed(console, 51)
    assert '"index.opened"' in console.processes[-1].log.read_text()


async def test_nothing_is_lost_or_doubled_when_it_is_killed(console: ConsoleUnderTest) -> None:
    """Again and again in the middle of indexing, either of its two processes."""
    count = 12_000
    await console.write(outcome(n) for n in range(count))
    seen = 0
    for attempt in range(5):
        process = console.start()
        await console.url()
        now = await until_more(console, min(count, seen + 1500))
        os.kill(process.pid if attempt % 2 else console.indexer(), signal.SIGKILL)
        await asyncio.to_thread(process.wait, 20)
        seen = now
    console.start()
    await until_indexed(console, count)
    assert sum("index.rebuilt" in line for line in console.logs().splitlines()) == 1
    for first in (0, 1111, 5999, count - 100):
        found = await all_codes(console, f"code=sku_{first}&begins=1")
        wanted = {f"sku_{n}" for n in range(count) if str(n).startswith(str(first))}
        assert found == Counter(dict.fromkeys(wanted, 1))


@pytest.mark.parametrize(
    ("number", "is_indexer", "code"),
    [
        (signal.SIGTERM, False, 0),
        (signal.SIGKILL, False, -signal.SIGKILL),
        (signal.SIGKILL, True, 1),
    ],
    ids=["drained", "killed", "indexer killed"],
)
async def test_neither_process_outlives_the_other(
    console: ConsoleUnderTest, number: int, *, is_indexer: bool, code: int
) -> None:
    process = console.start()
    await console.url()
    indexer = console.indexer()
    await console.write([outcome(0)])
    await until_indexed(console, 1)
    os.kill(indexer if is_indexer else process.pid, number)
    assert await asyncio.to_thread(process.wait, 20) == code
    async with asyncio.timeout(20):
        while is_running(indexer):  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.02)
    assert is_indexer == ("was ended by SIGKILL" in console.logs())
    assert "Traceback" not in console.logs()


async def until_logged(console: ConsoleUnderTest, words: str) -> None:
    async with asyncio.timeout(60):
        while words not in console.logs():  # noqa: ASYNC110 - a log tells no event
            await asyncio.sleep(0.1)


async def until_more(console: ConsoleUnderTest, count: int) -> int:
    """Wait until at least so many outcomes are indexed, and return how many are."""
    async with asyncio.timeout(60):
        while True:
            metrics = await console.metrics()
            found = re.search(r"asset_sync_console_index_outcomes (\d+)", metrics)
            if found is not None and int(found[1]) >= count:
                return int(found[1])


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
async def test_a_topic_that_was_created_again_is_indexed_anew(
    console: ConsoleUnderTest, *, is_running: bool
) -> None:
    """Even if it has as many records as before, so that no offset is out of range."""
    process = console.start()
    await console.write(outcome(n) for n in range(30))
    await until_indexed(console, 30)
    if not is_running:
        assert process.stop(20) == 0
    await console.delete_topic()
    await asyncio.sleep(1)
    await console.create_topic()
    await console.write(outcome(n) for n in range(1000, 1060))
    if is_running:
        await until_logged(console, '"why": "topic"')
    else:
        console.start()
    await until_indexed(console, 60)
    assert await all_codes(console, "code=sku_1&begins=1") == Counter(
        {f"sku_{n}": 1 for n in range(1000, 1060)}
    )
    assert '"why": "topic"' in console.logs()


def overwrite(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xa5" * (len(whole) - 8192))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.write_bytes(b"no database"), "damaged"),
        (overwrite, "damaged"),
        (Path.unlink, "missing"),
    ],
    ids=["another file", "damaged pages", "lost"],
)
async def test_an_index_that_is_damaged_or_lost_is_built_again(
    console: ConsoleUnderTest, damage: Callable[[Path], None], why: str
) -> None:
    await console.write(outcome(n) for n in range(3000))
    process = console.start()
    await until_indexed(console, 3000)
    assert process.stop(20) == 0
    (file,) = (console.folder / "index").glob("outcomes-*.sqlite")
    damage(file)
    console.start()
    await console.url()
    await console.get("/?code=sku_77")  # meets what nobody has read yet
    await console.write([outcome(3000)])
    await until_indexed(console, 3001)
    assert f'"why": "{why}"' in console.processes[-1].log.read_text()
    assert await all_codes(console, "code=sku_77") == Counter({"sku_77": 1})


async def test_added_partitions_are_indexed(console: ConsoleUnderTest) -> None:
    console.start()
    await console.write(outcome(n) for n in range(9))
    await until_indexed(console, 9)
    async with admin_of(console.bootstrap) as admin:
        await admin.create_partitions({console.topic: NewPartitions(5)})
    console.partitions = 5
    await asyncio.sleep(1)
    await console.write(outcome(n) for n in range(100, 110))
    await until_indexed(console, 19)


async def test_what_the_topic_no_longer_has_is_said(console: ConsoleUnderTest) -> None:
    """The console was stopped for longer than the topic's retention."""
    process = console.start()
    await console.write(outcome(n) for n in range(30))
    await until_indexed(console, 30)
    assert process.stop(20) == 0
    await console.write(outcome(n) for n in range(30, 90))
    await delete_records(console, 20)
    console.start()
    await until_indexed(console, 60)
    assert console.logs().count('"index.missed"') == console.partitions
    assert await all_codes(console, "code=sku_3&begins=1") == Counter({"sku_3": 1})


async def test_the_ends_of_transactions_are_no_missed_outcomes(console: ConsoleUnderTest) -> None:
    """They are offsets of the topic, and the retention removes them too."""
    process = console.start()
    await console.url()
    producer = AIOKafkaProducer(
        bootstrap_servers=console.bootstrap, transactional_id=f"test.{console.suffix}"
    )
    await producer.start()
    async with producer.transaction():
        for number in range(console.partitions):
            value = json.dumps(outcome(number)).encode()
            await producer.send(console.topic, value, partition=number)
    await producer.stop()
    await until_indexed(console, console.partitions)
    assert process.stop(20) == 0
    await delete_records(console, -1)
    console.start()
    await until_indexed(console, console.partitions)
    assert "index.missed" not in console.logs()


async def test_files_that_an_operator_deletes_are_built_again(console: ConsoleUnderTest) -> None:
    """Though no outcome comes, and before the next start."""
    await console.write(outcome(n) for n in range(30))
    console.start()
    await until_indexed(console, 30)
    for path in (console.folder / "index").glob("outcomes-*"):
        path.unlink()
    await until_logged(console, '"why": "damaged"')
    await until_indexed(console, 30)
    assert await all_codes(console, "code=sku_7") == Counter({"sku_7": 1})


async def delete_records(console: ConsoleUnderTest, before: int) -> None:
    """Delete the records of each partition below an offset, as retention does."""
    async with admin_of(console.bootstrap) as admin:
        partitions = [TopicPartition(console.topic, number) for number in range(console.partitions)]
        await admin.delete_records(
            {partition: RecordsToDelete(before_offset=before) for partition in partitions}
        )


@pytest.mark.xdist_group("broker of ingress")
async def test_in_an_outage_of_kafka_what_is_indexed_is_found(
    own_broker: EmbeddedKafka, tmp_path: Path
) -> None:
    console = ConsoleUnderTest(own_broker.bootstrap_servers, tmp_path)
    await console.create_topic()
    console.start()
    await console.write(outcome(n) for n in range(30))
    await until_indexed(console, 30)
    own_broker.kill()
    await until_metric(console, "console_kafka_reachable 0.0")
    status, page = await console.get("/?code=sku_7")
    assert status == 200
    assert "In the PIM" in page
    assert "Kafka does not answer at present" in page
    assert "console_lag NaN" in await console.metrics()
    own_broker.start()
    await until_metric(console, "console_kafka_reachable 1.0")
    await console.write(outcome(n) for n in range(30, 60))
    await until_indexed(console, 60)
    assert '"kafka.reachable"' in console.logs()
    console.end()


async def until_metric(console: ConsoleUnderTest, line: str) -> None:
    async with asyncio.timeout(90):
        while line not in await console.metrics():  # noqa: ASYNC110 - metrics tell no event
            await asyncio.sleep(0.2)


async def test_what_waits_is_asked_of_the_replicas(
    console: ConsoleUnderTest, system: SystemUnderTest
) -> None:
    system.start(HTTP__STATUS_PAGE="true")
    await system.until_ready()
    port = (await system.url()).rpartition(":")[2]
    console.start(CONSOLE__REPLICAS=f"localhost:{port},nobody.invalid:1")
    status, page = await console.get("/waiting")
    assert status == 200
    assert "Nothing is waiting" in page
    assert "nobody.invalid" in page
    assert "cannot be resolved" in page


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"CONSOLE__DIR": ""}, 2, "ASSET_SYNC_CONSOLE__DIR is required"),
        ({"CONSOLE__DIR": "/proc/nowhere"}, 1, "ASSET_SYNC_CONSOLE__DIR"),
        ({"CONSOLE__DAM_LINK": "javascript:x"}, 2, "must be an http or https URL"),
        ({"KAFKA__OUTCOMES_TOPIC": "not.there"}, 1, "does not exist"),
    ],
)
async def test_what_an_operator_has_to_correct_is_said(
    console: ConsoleUnderTest, settings: dict[str, str], code: int, words: str
) -> None:
    process = console.start(**settings)
    assert await asyncio.to_thread(process.wait, 60) == code
    assert words in console.logs()
    assert "Traceback" not in console.logs()


async def test_a_second_console_does_not_use_the_same_index(console: ConsoleUnderTest) -> None:
    console.start()
    await until_indexed(console, 0)
    second = console.start()
    assert await asyncio.to_thread(second.wait, 60) == 1
    assert "Another process uses the index" in second.log.read_text()
    assert json.loads(second.log.read_text().splitlines()[0])
