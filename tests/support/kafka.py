"""Runs a broker for the tests: embedded or in a container; or uses one that runs already."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from testcontainers.community.kafka import KafkaContainer

from service.playground.embedded_kafka import embedded_kafka

HOST_NETWORK = "TEST_KAFKA_HOST_NETWORK"
"""Set this variable where Docker has no bridge network: the container uses the host's network."""
CONTROLLER_PORT = 9094
PROPERTIES = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
}
"""Properties of a single broker, the same as in the embedded one."""


class Broker(Protocol):
    """A running broker, as far as a test needs it."""

    @property
    def bootstrap_servers(self) -> str:
        """HOST:PORT."""
        ...


@dataclass(frozen=True)
class Address:
    """A broker that another process runs."""

    bootstrap_servers: str


@contextlib.contextmanager
def broker_of(backend: str, image: str, shared: Path | None) -> Iterator[Broker]:
    """Give the broker of a backend: `embedded`, `testcontainers` or an address.

    Test processes with the same folder `shared` use one embedded broker.
    """
    if backend == "embedded":
        with embedded_kafka() if shared is None else shared_kafka(shared) as broker:
            yield broker
    elif backend == "testcontainers":
        container = _HostKafka(image) if os.environ.get(HOST_NETWORK) else KafkaContainer(image)
        for name, content in PROPERTIES.items():
            container.with_env("KAFKA_" + name.upper().replace(".", "_"), content)
        with container.with_kraft() as running:
            yield Address(running.get_bootstrap_server())
    else:
        yield Address(backend)


@contextlib.contextmanager
def shared_kafka(folder: Path) -> Iterator[Broker]:
    """Give one broker to all processes that name this folder.

    The first process runs the broker. At its end it waits until the other processes finish.
    """
    with (
        (folder / "kafka.address").open("a+") as address,
        (folder / "kafka.users").open("a") as users,
    ):
        fcntl.flock(address, fcntl.LOCK_EX)
        address.seek(0)
        if running := address.read():
            fcntl.flock(users, fcntl.LOCK_SH)
            fcntl.flock(address, fcntl.LOCK_UN)
            yield Address(running)
            return
        with embedded_kafka() as broker:
            address.write(broker.bootstrap_servers)
            address.flush()
            fcntl.flock(address, fcntl.LOCK_UN)
            yield broker
            address.truncate(0)  # the next process runs a new broker
            fcntl.flock(users, fcntl.LOCK_EX)


class _HostKafka(KafkaContainer):
    """A container on the host's network that listens on loopback only, without port mapping."""

    def __init__(self, image: str) -> None:
        super().__init__(image, port=29093)
        self.ports.clear()
        self.with_kwargs(network_mode="host", hostname="kafka", extra_hosts={"kafka": "127.0.0.1"})
        self.listeners = self.listeners.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - it is removed

    def _configure_kraft(self) -> None:
        super()._configure_kraft()
        controller = f"CONTROLLER://127.0.0.1:{CONTROLLER_PORT}"
        self.with_env("KAFKA_LISTENERS", f"{self.listeners},{controller}")

    def get_exposed_port(self, port: int) -> int:
        return port

    def get_container_host_ip(self) -> str:
        return "127.0.0.1"
