"""The service behind nginx at its defaults: bodies above 1 MiB never reach the PIM."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from service.playground.local_system import create_topics
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.servers.programs import Site, free_port, nginx, running
from tests.support.proof import assert_dead_letters_whole, upsert
from tests.support.service import Input, SystemUnderTest, system_around

MIB = 1024 * 1024

pytestmark = [pytest.mark.kafka, pytest.mark.processes, pytest.mark.servers]


@asynccontextmanager
async def behind_nginx(system: SystemUnderTest) -> AsyncIterator[str]:
    """The URL of nginx before the PIM of the system, without TLS."""
    upstream = int(system.pim_url.rpartition(":")[2])
    site = Site(system.folder, upstream, free_port(), free_port())
    command = nginx(site)
    config = system.folder / "nginx.conf"
    lines = config.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if "ssl" not in line))
    async with running(command, site.plain):
        yield f"http://127.0.0.1:{site.plain}"


async def publish_large(system: SystemUnderTest, records: list[Input]) -> None:
    """Write records of up to 4 MiB, to new topics that take them and their dead letters."""
    system.suffix = f"{system.suffix}.large"
    large = {"max.message.bytes": str(4 * MIB)}
    names = (system.events, system.outcomes, system.dead_letters)
    await create_topics(
        system.bootstrap,
        [NewTopic(name, system.partitions, 1, topic_configs=large) for name in names],
    )
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap, max_request_size=4 * MIB)
    await producer.start()
    for partition, key, value in records:
        stored = await producer.send_and_wait(system.events, value, key=key, partition=partition)
        system.published[partition, stored.offset] = (key, value)
    await producer.stop()


async def test_batches_that_nginx_refuses_are_halved_until_they_fit(
    bootstrap: str, tmp_path: Path
) -> None:
    """An asset too large by its merged changes gets them one by one; nothing is suspected."""
    pim = PimSimulator(free("packshots", "manuals"))
    async with system_around(bootstrap, tmp_path, pim) as system, behind_nginx(system) as url:
        records: list[Input] = [
            (0, None, upsert("packshots", "heavy", {f"note{part}": "x" * 700_000}))
            for part in range(3)
        ]
        records += [
            (0, None, upsert("packshots", f"a{number}", {"note": "x" * 400_000}))
            for number in range(10)
        ]
        records += [
            (0, None, upsert("manuals", f"m{number}", {"note": "x"})) for number in range(20)
        ]
        await system.publish(records)
        system.start(PIM__BASE_URL=url, STRUCTURE__VALIDATE="false")
        data = [outcome["data"] for outcome in await system.outcome_data(len(records))]

    assert {one["status"] for one in data} == {"applied"}
    assert (tmp_path / "nginx.log").read_text().count("too large body") > 3
    assert "breaker.opened" not in system.logs()
    assert "pim.call_failed" not in system.logs()


async def test_an_asset_of_2_mib_ends_alone(bootstrap: str, tmp_path: Path) -> None:
    """It is too large for nginx, and nothing else is: not its family, and not what nearly is."""
    pim = PimSimulator(free("packshots", "manuals"))
    async with system_around(bootstrap, tmp_path, pim) as system, behind_nginx(system) as url:
        huge = upsert("packshots", "huge", {"note": "x" * 2 * MIB})
        nearly = upsert("packshots", "nearly", {"note": "x" * (MIB - 200)})
        records: list[Input] = [(0, None, huge), (0, None, nearly), (1, None, nearly)]
        records += [
            (number % 3, None, upsert(family, f"a{number}", {"note": "x"}))
            for family in ("packshots", "manuals")
            for number in range(20)
        ]
        records.append((0, None, upsert("packshots", "huge", {"other": "small"})))
        await publish_large(system, records)
        system.start(
            PIM__BASE_URL=url,
            KAFKA__MAX_RECORD_BYTES="4MiB",
            STRUCTURE__VALIDATE="false",
        )
        data = [outcome["data"] for outcome in await system.outcome_data(len(records))]
        await assert_dead_letters_whole(system, data)

    assert len(data) == len(records)
    refused = [one for one in data if one["status"] != "applied"]
    assert [(one["code"], one["reason"], one["origin"]["offset"]) for one in refused] == [
        ("huge", "too_large", 0)
    ]
    assert (tmp_path / "nginx.log").read_text().count("too large body") >= 1
    for never in ("breaker.opened", "pim.call_failed", "family.failing"):
        assert never not in system.logs()
