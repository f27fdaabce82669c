"""Two brokers, of which the second may be killed: then its partitions have no leader."""

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from service.playground.embedded_kafka import EmbeddedKafka, started
from tests.support.admin import admin_of

PROPERTIES = """
process.roles=broker
node.id=2
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port}
"""


class SecondKafka(EmbeddedKafka):
    """A broker that joins the cluster of the first one."""

    def __init__(self, folder: Path, classpath: str, java: Path, first: EmbeddedKafka) -> None:
        super().__init__(folder, classpath, java)
        with self._properties.open("a") as properties:  # the last line with a name counts
            properties.write(PROPERTIES.format(port=self._port, controller=first._controller))


@contextlib.contextmanager
def second_broker(first: EmbeddedKafka) -> Iterator[SecondKafka]:
    """Run a second broker."""
    with started(partial(SecondKafka, first=first)) as broker:
        yield broker


async def create(bootstrap: str, brokers_of: dict[str, list[int]]) -> None:
    """Create topics; each partition has the broker with this number as its only one."""
    topics = [
        NewTopic(
            name, -1, -1, replica_assignments={at: [number] for at, number in enumerate(numbers)}
        )
        for name, numbers in brokers_of.items()
    ]
    async with admin_of(bootstrap) as admin:
        await admin.create_topics(topics)
        await until_led(admin, brokers_of)


async def until_led(admin: AIOKafkaAdminClient, brokers_of: dict[str, list[int]]) -> None:
    """Wait until the partitions have these leaders; -1 is none."""
    async with asyncio.timeout(60):
        while await _leaders(admin, list(brokers_of)) != brokers_of:  # noqa: ASYNC110 - of Kafka
            await asyncio.sleep(0.2)


async def _leaders(admin: AIOKafkaAdminClient, topics: list[str]) -> dict[str, list[int]]:
    """Return the leaders of the partitions; nothing if a broker was asked that is away."""
    with contextlib.suppress(KafkaError):
        return {
            topic["topic"]: [
                partition["leader"]
                for partition in sorted(topic["partitions"], key=lambda one: one["partition"])
            ]
            for topic in await admin.describe_topics(topics)
        }
    return {}


async def create_internal_topics(bootstrap: str) -> None:
    """Let Kafka create its topics for groups and transactions, on the brokers that run now."""
    await create(bootstrap, {"first": [1]})
    consumer = AIOKafkaConsumer("first", bootstrap_servers=bootstrap, group_id="first")
    await consumer.start()
    await consumer.stop()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="first")
    await producer.start()
    await producer.stop()
