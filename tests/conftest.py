"""Options and fixtures of all tests: one broker for the session, from one of three backends."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from service.playground.embedded_kafka import EmbeddedKafka, embedded_kafka
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support import forked
from tests.support.kafka import Broker, broker_of
from tests.support.service import SystemUnderTest, system_around

settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")  # a machine under load is slow, not wrong

WORKERS_PER_CORE = 4
"""Tests that run the service as processes wait for most of their time."""
WORKERS_PER_CORE_WITH_BROKERS = 2
"""Where each worker runs brokers of its own."""
WORKERS_PER_CORE_WITHOUT_BROKER = 2
"""Of these tests, some wait for seconds; the others fill the cores meanwhile."""


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


def pytest_configure(config: pytest.Config) -> None:
    """Let aiohttp's reader of forms call a method that aiohttp itself calls deprecated.

    It does so where a boundary is cut in two on its way, and the PIM simulator then answered 500.
    """
    config.addinivalue_line("filterwarnings", "ignore:unread_data:DeprecationWarning")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many workers `-n auto` starts: more than cores, because many tests wait."""
    cores = os.cpu_count() or 1
    marked = config.option.markexpr
    if "not kafka" in marked:
        return cores * WORKERS_PER_CORE_WITHOUT_BROKER
    return cores * (WORKERS_PER_CORE_WITH_BROKERS if marked == "brokers" else WORKERS_PER_CORE)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the tests that wait first: those that compute fill the cores meanwhile.

    Of those that compute, the slow ones come first, so that none of them runs alone at the end.
    The groups come before all: the tests of a group run one after another, in one worker. Whoever
    kills a broker is marked, so that `make test-brokers` runs it.
    """
    for item in items:
        if "broker_to_kill" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.brokers)
    items.sort(
        key=lambda item: (
            item.get_closest_marker("kafka") is None,
            item.get_closest_marker("xdist_group") is None,
            item.get_closest_marker("slow") is None,
        )
    )


@pytest.fixture(scope="session", autouse=True)
def forked_programs() -> Iterator[None]:
    """Programs start by a fork, without the second of CPU that their imports take."""
    with forked.forked_programs():
        yield


@pytest.fixture(scope="session", autouse=True)
def no_public_cas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """TLS contexts do not load the CAs of the system, which takes 30 ms of CPU for each context.

    All servers of the tests are on this machine, and their certificates are given as files.
    """
    nothing = tmp_path_factory.mktemp("no-cas")
    (nothing / "cas.pem").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(nothing / "cas.pem"))
        patch.setenv("SSL_CERT_DIR", str(nothing))
        yield


@pytest.fixture
def real_starts() -> Iterator[None]:
    """Programs start as they do elsewhere."""
    with forked.real_starts():
        yield


@pytest.fixture(scope="session")
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """A running broker; the workers of a run share one."""
    backend, image = request.config.option.kafka, request.config.option.kafka_image
    is_worker = hasattr(request.config, "workerinput")
    shared = tmp_path_factory.getbasetemp().parent if is_worker else None
    with broker_of(backend, image, shared) as running:
        yield running


@pytest.fixture(scope="session")
def bootstrap(broker: Broker) -> str:
    """The address of a running broker."""
    return broker.bootstrap_servers


@pytest.fixture(scope="session")
def broker_to_kill() -> Iterator[EmbeddedKafka]:
    """A broker that may be killed, for all tests of a worker."""
    with embedded_kafka() as broker:
        yield broker


@pytest.fixture
def own_broker(broker_to_kill: EmbeddedKafka) -> EmbeddedKafka:
    """A broker that may be killed; it runs when the test begins."""
    if not broker_to_kill.is_running:
        broker_to_kill.start()
    return broker_to_kill


@pytest.fixture
async def system(bootstrap: str, tmp_path: Path) -> AsyncIterator[SystemUnderTest]:
    """The system around a test, with a PIM of two families."""
    pim = PimSimulator(free("packshots", "manuals"))
    async with system_around(bootstrap, tmp_path, pim) as made:
        yield made
