"""The bridges that are compared: how each is started, and how many events it can be given."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig import Rig
from service.playground.embedded_kafka import die_with_parent

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parent.parent / ".cache" / "peers" / "bin" / "python"
JAVA_LIBRARIES = HERE / "java" / "target"
SAME_PATIENCE = {"KAFKA__SESSION_TIMEOUT_SECONDS": 6, "RETRY__MAX_SECONDS": 24}
"""As the others have: asset-sync's own is ten times as long."""
TOKEN = "bench"


def is_set_up() -> bool:
    """Whether the others' libraries were installed and their programs built."""
    return PYTHON.exists() and (JAVA_LIBRARIES / "peers.jar").exists()


@dataclass(frozen=True)
class Bridge:
    """One of them. `program` is a Python file or a Java class; None: asset-sync itself."""

    name: str
    program: str | None
    events: int = 40_000
    """A slow one is given fewer."""

    def start(self, at: Rig, pim: str, log: Path) -> subprocess.Popen[bytes]:
        """Start its process; what it says goes to the log."""
        with log.open("ab") as out:
            return subprocess.Popen(  # noqa: S603 - our own
                self._command(),
                stdout=out,
                stderr=out,
                cwd=at.folder,
                env=os.environ | self._environ(at, pim),
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one call to the kernel, no threads
            )

    def _command(self) -> list[str]:
        if self.program is None:
            return [sys.executable, "-m", "service", "run"]
        if self.program.endswith(".py"):
            return [str(PYTHON), str(HERE / "python" / self.program)]
        classpath = f"{JAVA_LIBRARIES / 'peers.jar'}:{JAVA_LIBRARIES / 'lib' / '*'}"
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return ["java", quiet, "-cp", classpath, self.program]

    def _environ(self, at: Rig, pim: str) -> dict[str, str]:
        if self.program is None:
            ours = at.settings(pim) | SAME_PATIENCE
            root = str(HERE.parent.parent)
            return {f"ASSET_SYNC_{name}": str(value) for name, value in ours.items()} | {
                "PYTHONPATH": root
            }
        return {
            "PEER_BOOTSTRAP": at.broker.bootstrap_servers,
            "PEER_EVENTS": at.events_topic,
            "PEER_OUTCOMES": at.outcomes_topic,
            "PEER_GROUP": f"group.{at.name}",
            "PEER_PIM_URL": pim,
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
