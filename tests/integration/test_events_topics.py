"""How events may lie in Kafka: packed, in transactions, in several topics."""

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.support.proof import assert_exactly_once, events, upsert
from tests.support.service import Bench

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_packed_records(bench: Bench, codec: str) -> None:
    """By whichever codec a producer likes."""
    records = events(300, 30, bench.partitions)
    await bench.publish(records, codec)
    bench.start()

    await assert_exactly_once(bench, len(records))


async def test_what_a_transaction_aborts_never_was(bench: Bench) -> None:
    """A DAM may write in transactions: what it took back has no outcome, and blocks nothing."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bench.bootstrap, transactional_id=f"dam.{bench.suffix}"
    )
    await producer.start()
    kept = []
    for number in range(20):
        await producer.begin_transaction()
        sent = await producer.send_and_wait(
            bench.events, upsert("packshots", f"a{number}", {"n": str(number)}), partition=0
        )
        if number % 2:
            await producer.abort_transaction()
        else:
            await producer.commit_transaction()
            kept.append(f"{bench.events}/0/{sent.offset}")
    await producer.stop()
    bench.start()

    outcomes = await bench.outcome_data(len(kept))

    assert sorted(outcome["id"] for outcome in outcomes) == sorted(kept)
    assert {code for _, code in bench.pim.state} == {f"a{n}" for n in range(0, 20, 2)}


async def test_two_topics_of_different_width(bench: Bench) -> None:
    """Each is read; an outcome's id says from which it came. Two replicas share both."""
    more = f"more.{bench.suffix}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bench.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(more, 5, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bench.bootstrap)
    await producer.start()
    sent = [
        await producer.send_and_wait(topic, upsert("packshots", f"{kind}{number}", {"n": "1"}))
        for kind, topic in (("a", bench.events), ("b", more))
        for number in range(100)
    ]
    await producer.stop()
    for _ in range(2):
        bench.start(KAFKA__EVENTS_TOPICS=f"{bench.events},{more}")

    outcomes = await bench.outcome_data(len(sent))

    expected = {f"{one.topic}/{one.partition}/{one.offset}" for one in sent}
    assert len(outcomes) == len(expected)
    assert {outcome["id"] for outcome in outcomes} == expected
    assert len(bench.pim.state) == len(sent)
