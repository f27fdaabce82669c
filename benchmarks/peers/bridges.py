"""The bridges that are compared: how each is started, and with how many events."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.watching import start_as_replica
from benchmarks.system import MeasuredSystem
from service.playground.local_system import LoggedProcess

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parent.parent / ".cache" / "peers" / "bin" / "python"
JAVA_LIBRARIES = HERE / "java" / "target"
SAME_TIMES = {"KAFKA__SESSION_TIMEOUT_SECONDS": "6", "RETRY__MAX_SECONDS": "24"}
"""The times that the other bridges have; the defaults of asset-sync are ten times as long."""
EVENTS_WITH_FAULTS_MAX = 40_000
TOKEN = "bench"


def is_set_up() -> bool:
    """Whether the others' libraries were installed and their programs built."""
    return PYTHON.exists() and (JAVA_LIBRARIES / "peers.jar").exists()


@dataclass(frozen=True)
class Bridge:
    """A bridge; `program` is a Python file or a Java class, or None for asset-sync itself."""

    name: str
    program: str | None
    events: int = 100_000
    """How many events it gets in the round without faults; a slow one gets fewer."""

    @property
    def events_with_faults(self) -> int:
        return min(self.events, EVENTS_WITH_FAULTS_MAX)

    def start(self, system: MeasuredSystem) -> LoggedProcess:
        """Start the process of this bridge as one more replica of the system."""
        environ = system.environ(**SAME_TIMES)
        if self.program is not None:
            environ = os.environ | self._environ(system)
        return start_as_replica(system, self._command(), environ)

    def _command(self) -> list[str]:
        if self.program is None:
            return [sys.executable, "-m", "service", "run"]
        if self.program.endswith(".py"):
            return [str(PYTHON), str(HERE / "python" / self.program)]
        classpath = f"{JAVA_LIBRARIES / 'peers.jar'}:{JAVA_LIBRARIES / 'lib' / '*'}"
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return ["java", quiet, "-cp", classpath, self.program]

    @staticmethod
    def _environ(system: MeasuredSystem) -> dict[str, str]:
        return {
            "PEER_BOOTSTRAP": system.bootstrap,
            "PEER_EVENTS": system.events,
            "PEER_OUTCOMES": system.outcomes,
            "PEER_GROUP": system.group,
            "PEER_PIM_URL": system.pim_url,
            "PEER_PIM_TOKEN": TOKEN,
        }


BRIDGES = (
    Bridge("asset-sync", None),
    Bridge("plain FastStream consumer", "faststream_plain.py", events=300),
    Bridge("FastStream batch consumer", "faststream_batch.py"),
    Bridge("Confluent Parallel Consumer", "peers.ParallelConsumerBridge"),
    Bridge("sentry-arroyo", "arroyo_reduce.py"),
    Bridge("Quix Streams", "quix_sink.py"),
    Bridge("Apache Camel", "peers.CamelBridge"),
)
