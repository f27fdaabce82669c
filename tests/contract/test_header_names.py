"""Events with header names that are not UTF-8: applied, dead-lettered and replayed."""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.kafka.aiokafka_gaps.fetching import read_in_steps
from service.adapters.kafka.aiokafka_gaps.header_names import NonUtf8Name, has_non_utf8_name
from service.adapters.kafka.batches import fill, send
from service.core.records import LogRecord
from tests.support.proof import upsert
from tests.support.service import SystemUnderTest, aside

NON_UTF8 = NonUtf8Name(b"dam-\xff\xfe".decode("utf-8", "surrogateescape"))


@given(st.binary(max_size=10))
def test_a_name_encodes_to_its_bytes(content: bytes) -> None:
    name = NonUtf8Name(content.decode("utf-8", "surrogateescape"))
    assert name.encode() == content
    assert has_non_utf8_name((("plain", b""), (name, None)))
    assert not has_non_utf8_name((("plain", b""),))


async def publish(system: SystemUnderTest) -> None:
    """Publish good and bad events, with the header before, between and after plain ones."""
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap)
    await producer.start()
    topic_partition = TopicPartition(system.events, 0)
    good = LogRecord(
        b"packshots/a", upsert("packshots", "a", {}), ((NON_UTF8, b"\x00"), ("x", None))
    )
    bad = LogRecord(b"k", b"{", ((NON_UTF8, b"\x01"),))
    plain = LogRecord(b"packshots/b", upsert("packshots", "b", {}), (("é", b"y"),))
    batches = fill(producer, [(topic_partition, one) for one in (plain, good, plain, bad, plain)])
    await send(producer, batches)
    for batch in batches:
        batch.sent.result()
    await producer.stop()


@pytest.mark.kafka
@pytest.mark.processes
async def test_it_does_not_block_and_is_kept(system: SystemUnderTest) -> None:
    """The events get their outcomes; a dead letter and its replay keep the name."""
    read_in_steps()
    await publish(system)
    system.start()
    outcomes = await system.outcome_data(5, 20)
    assert len(outcomes) == 5, system.logs()
    statuses = {one["data"]["origin"]["offset"]: one["data"]["status"] for one in outcomes}
    assert statuses == {0: "applied", 1: "applied", 2: "applied", 3: "rejected", 4: "applied"}
    ((key, value, headers),) = await system.read(system.dead_letters, 1)
    assert (key, value) == (b"k", b"{")
    assert headers[NON_UTF8] == b"\x01"
    assert NON_UTF8 in headers

    done = await aside(system, "dead-letters", "replay")
    assert b"1 replayed" in done.stdout, done
    again = await system.read(system.events, 6)
    assert again[-1][2][NON_UTF8] == b"\x01"
    assert len(await system.outcome_data(6)) == 6
    await asyncio.sleep(0)
