"""Options and fixtures of all tests: one broker for the session, from one of three backends."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support.kafka import Broker, broker_of
from tests.support.service import Bench, bench_around


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--kafka` chooses the backend."""
    parser.addoption(
        "--kafka",
        default="embedded",
        metavar="BACKEND",
        help="embedded (default), testcontainers (needs a Docker engine), or HOST:PORT",
    )
    parser.addoption(
        "--kafka-image",
        default="confluentinc/cp-kafka:7.9.0",
        metavar="IMAGE",
        help="the image of the testcontainers backend, with Confluent's layout",
    )


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A running broker."""
    backend, image = request.config.option.kafka, request.config.option.kafka_image
    with broker_of(backend, image) as running:
        yield running


@pytest.fixture(scope="session")
def bootstrap(broker: Broker) -> str:
    """The address of a running broker."""
    return broker.bootstrap_servers


@pytest.fixture
async def bench(bootstrap: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """The system around a test, with a PIM of two families."""
    pim = PimSimulator(free("packshots", "manuals"))
    async with bench_around(bootstrap, tmp_path, pim) as made:
        yield made
