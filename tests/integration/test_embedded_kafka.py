"""The broker of demo and tests, where its port is taken for a moment."""

import socket
import threading
from pathlib import Path

import pytest

from service.playground.embedded_kafka import EmbeddedKafka, started

pytestmark = [pytest.mark.kafka, pytest.mark.brokers, pytest.mark.processes]
HELD_SECONDS = 8.0


def test_a_port_that_is_taken_for_a_moment_is_waited_for() -> None:
    """Any connection of this machine may get the port between its choice and the start."""
    held = socket.socket()

    def with_its_port_taken(folder: Path, classpath: str, java: Path) -> EmbeddedKafka:
        broker = EmbeddedKafka(folder, classpath, java)
        held.bind(("127.0.0.1", int(broker.bootstrap_servers.rpartition(":")[2])))
        threading.Timer(HELD_SECONDS, held.close).start()
        return broker

    with started(with_its_port_taken) as broker:
        host, _, port = broker.bootstrap_servers.rpartition(":")
        socket.create_connection((host, int(port)), 5).close()
    assert held.fileno() == -1, "it came up only after the port was free"
