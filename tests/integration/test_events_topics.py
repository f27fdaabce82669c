"""How events may lie in Kafka: packed, in transactions, in several topics."""

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from service.playground.local_system import create_topics
from tests.support.proof import assert_exactly_once, events, upsert
from tests.support.service import SystemUnderTest

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_packed_records(system: SystemUnderTest, codec: str) -> None:
    """By whichever codec a producer likes."""
    records = events(300, 30, system.partitions)
    await system.publish(records, codec)
    system.start()

    await assert_exactly_once(system, len(records))


async def test_what_a_transaction_aborts_never_was(system: SystemUnderTest) -> None:
    """A DAM may write in transactions: what it took back has no outcome, and blocks nothing."""
    producer = AIOKafkaProducer(
        bootstrap_servers=system.bootstrap, transactional_id=f"dam.{system.suffix}"
    )
    await producer.start()
    kept = []
    for number in range(20):
        await producer.begin_transaction()
        sent = await producer.send_and_wait(
            system.events, upsert("packshots", f"a{number}", {"n": str(number)}), partition=0
        )
        if number % 2:
            await producer.abort_transaction()
        else:
            await producer.commit_transaction()
            kept.append(f"{system.events}/0/{sent.offset}")
    await producer.stop()
    system.start()

    outcomes = await system.outcome_data(len(kept))

    assert sorted(outcome["id"] for outcome in outcomes) == sorted(kept)
    assert {code for _, code in system.pim.state} == {f"a{n}" for n in range(0, 20, 2)}


async def test_two_topics_of_different_width(system: SystemUnderTest) -> None:
    """Each is read; an outcome's id says from which it came. Two replicas share both."""
    more = f"more.{system.suffix}"
    await create_topics(system.bootstrap, [NewTopic(more, 5, 1)])
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap)
    await producer.start()
    sent = [
        await producer.send_and_wait(topic, upsert("packshots", f"{kind}{number}", {"n": "1"}))
        for kind, topic in (("a", system.events), ("b", more))
        for number in range(100)
    ]
    await producer.stop()
    for _ in range(2):
        system.start(KAFKA__EVENTS_TOPICS=f"{system.events},{more}")

    outcomes = await system.outcome_data(len(sent))

    expected = {f"{one.topic}/{one.partition}/{one.offset}" for one in sent}
    assert len(outcomes) == len(expected)
    assert {outcome["id"] for outcome in outcomes} == expected
    assert len(system.pim.state) == len(sent)
