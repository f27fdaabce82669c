"""A broker, a PIM simulator and replicas, each a process of its own; and what they used.

Numbers come from the operating system (CPU, memory), from the service's own metrics (outcomes,
durations of calls as the client sees them) and from the topics (times).
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from service.adapters.kafka.options import quieten_aiokafka
from service.playground.embedded_kafka import EmbeddedKafka, die_with_parent, embedded_kafka
from service.playground.pim import structure as pim_structure

ROOT = Path(__file__).resolve().parent.parent
LOOK_SECONDS = 0.5
BATCH_BYTES = 512 * 1024
START_SECONDS_MAX = 30.0

Event = tuple[bytes, bytes | None]
"""Key and value."""


@dataclass
class Replica:
    """The service, as a process."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_it_listens(self) -> None:
        """It has started."""
        for _ in range(round(START_SECONDS_MAX / 0.02)):
            if "http.listening" in self.log.read_text():
                return
            time.sleep(0.02)
        raise RuntimeError(self.log.read_text())

    def wait_until_it_owns(self, partitions: int) -> None:
        """Its group gave it so many."""
        self.wait_until_it_listens()
        for _ in range(round(START_SECONDS_MAX / 0.1)):
            if self.metrics()["asset_sync_assigned_partitions"] == partitions:
                return
            time.sleep(0.1)
        raise RuntimeError(self.log.read_text())

    @property
    def url(self) -> str:
        """Its port."""
        found = re.search(r'"port": (\d+), "event": "http.listening"', self.log.read_text())
        if found is None:
            raise RuntimeError(self.log.read_text()[-2000:])
        return f"http://127.0.0.1:{found[1]}"

    def metrics(self) -> dict[str, float]:
        """Its metrics, by name with labels."""
        with UNPROXIED.open(self.url + "/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
        }

    @property
    def memory_bytes(self) -> int:
        """Resident at most, since it began (Linux)."""
        return peak_memory_bytes(self.process.pid)


@dataclass(frozen=True)
class Look:
    """What had been done, and used, at a moment; of all replicas together."""

    at: float
    outcomes: float
    """Of changes that were applied."""
    cpu_seconds: float
    calls: float
    """Writes to the PIM that ended."""
    busy_seconds: float
    """How long those took, as the client saw it."""
    memory_bytes: int
    """Resident."""


@dataclass
class Course:
    """A run, look by look. What is asked of it is its middle: neither start nor last windows."""

    total: int
    looks: list[Look] = field(default_factory=list)

    @property
    def _ends(self) -> tuple[Look, Look]:
        """The looks at a tenth and at nine tenths."""
        first = next(look for look in self.looks if look.outcomes >= 0.1 * self.total)
        last = next(look for look in self.looks if look.outcomes >= 0.9 * self.total)
        if first.at == last.at:  # all of it between two looks
            return self.looks[0], self.looks[-1]
        return first, last

    @property
    def seconds(self) -> float:
        """Of the middle."""
        first, last = self._ends
        return last.at - first.at

    @property
    def outcomes_per_second(self) -> float:
        """By the clock."""
        first, last = self._ends
        return (last.outcomes - first.outcomes) / self.seconds

    @property
    def outcomes_per_cpu_second(self) -> float:
        """By the CPU of the service."""
        return _per_cpu_second(*self._ends)

    @property
    def all_per_cpu_second(self) -> float:
        """By the CPU of the service, of all that was done: where reading comes before writing."""
        return _per_cpu_second(self.looks[0], self.looks[-1])

    def peak_bytes(self, share_from: float, share_to: float) -> int:
        """What was resident at most between these shares of the outcomes."""
        return max(
            look.memory_bytes
            for look in self.looks
            if share_from * self.total <= look.outcomes <= share_to * self.total
        )

    @property
    def calls_per_second(self) -> float:
        """By the clock."""
        first, last = self._ends
        return (last.calls - first.calls) / self.seconds

    @property
    def mean_call_seconds(self) -> float:
        """As the client saw it."""
        first, last = self._ends
        return (last.busy_seconds - first.busy_seconds) / (last.calls - first.calls)


@dataclass
class Rig:
    """Topics of one bench, its PIM and its replicas."""

    broker: EmbeddedKafka
    folder: Path
    partitions: int = 6
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    published: int = 0
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def events_topic(self) -> str:
        """Where events go."""
        return f"events.{self.name}"

    @property
    def outcomes_topic(self) -> str:
        """Where outcomes go."""
        return f"outcomes.{self.name}"

    async def create_topics(self) -> None:
        """Make the three."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.bootstrap_servers)
        await admin.start()
        names = (self.events_topic, self.outcomes_topic, f"dead.{self.name}")
        await admin.create_topics([NewTopic(name, self.partitions, 1) for name in names])
        await admin.close()

    async def publish(self, events: Iterable[Event]) -> None:
        """Write them in order, dealt to partitions by their key's number."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.broker.bootstrap_servers, max_batch_size=BATCH_BYTES
        )
        await producer.start()
        filling = [producer.create_batch() for _ in range(self.partitions)]
        for number, (key, value) in enumerate(events):
            at = number % self.partitions
            self.published += 1
            if filling[at].append(timestamp=None, key=key, value=value) is None:
                await producer.send_batch(filling[at], self.events_topic, partition=at)
                filling[at] = producer.create_batch()
                filling[at].append(timestamp=None, key=key, value=value)
        for at, batch in enumerate(filling):
            await producer.send_batch(batch, self.events_topic, partition=at)
        await producer.flush()
        await producer.stop()

    def start_pim(self, families: int, *, with_options: bool = True, **options: object) -> str:
        """A simulator with families of attributes as `upsert` sets them; its URL.

        Without options its families are texts alone: a structure is read by one call, not three.
        """
        structure = self.folder / f"structure-{self.name}.json"
        structure.write_bytes(msgspec.json.encode(_structure(families, with_options=with_options)))
        command = [sys.executable, "-m", "service", "pim-simulator", "--port", "0"]
        command += ["--structure", str(structure)]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        log = self.folder / f"pim-{self.name}.log"
        self._start(command, log, {})
        for _ in range(round(START_SECONDS_MAX / 0.1)):
            if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
                return found[0]
            time.sleep(0.1)
        raise RuntimeError(log.read_text())

    def settings(self, pim: str) -> dict[str, object]:
        """What a replica needs to find everything."""
        return {
            "KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap_servers,
            "KAFKA__GROUP_ID": f"group.{self.name}",
            "KAFKA__EVENTS_TOPICS": self.events_topic,
            "KAFKA__OUTCOMES_TOPIC": self.outcomes_topic,
            "KAFKA__DEAD_LETTERS_TOPIC": f"dead.{self.name}",
            "PIM__BASE_URL": pim,
            "PIM__APP_TOKEN": "bench",
            "HTTP__HOST": "127.0.0.1",
            "HTTP__PORT": "0",
        }

    def start_service(self, pim: str, **settings: object) -> Replica:
        """A replica, once its port listens."""
        replica = self.begin_service(pim, **settings)
        replica.wait_until_it_listens()
        return replica

    def begin_service(self, pim: str, **settings: object) -> Replica:
        """A replica that is on its way."""
        ours = self.settings(pim) | settings
        log = self.folder / f"service-{self.name}-{len(self._processes)}.log"
        environ = {f"ASSET_SYNC_{name}": str(value) for name, value in ours.items()}
        process = self._start([sys.executable, "-m", "service", "run"], log, environ)
        return Replica(process, log)

    def wait_for(
        self,
        replicas: Sequence[Replica],
        outcomes: int,
        seconds_max: float,
        look_seconds: float = LOOK_SECONDS,
    ) -> "Course":
        """Look again and again until so many outcomes are committed."""
        deadline = time.monotonic() + seconds_max
        course = Course(outcomes)
        while not course.looks or course.looks[-1].outcomes < outcomes:
            course.looks.append(_look(replicas))
            if time.monotonic() > deadline:
                logs = "\n".join(replica.log.read_text()[-1500:] for replica in replicas)
                raise RuntimeError(f"{course.looks[-1]} of {outcomes} outcomes in time\n{logs}")
            time.sleep(look_seconds)
        return course

    def end(self) -> None:
        """End every process."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _start(
        self, command: list[str], log: Path, ours: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ASSET_SYNC_")}
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: S603 - our own
                command,
                stdout=out,
                stderr=out,
                env=inherited | ours | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                cwd=self.folder,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one call to the kernel, no threads
            )
        self._processes.append(process)
        return process


@contextlib.contextmanager
def broker() -> Iterator[tuple[EmbeddedKafka, Path]]:
    """One broker for all benches, and a folder for logs."""
    quieten_aiokafka(entirely=True)  # a topic that is just made has no leader for a moment
    with embedded_kafka() as running, tempfile.TemporaryDirectory(prefix="asset-sync-bench-") as at:
        yield running, Path(at)


def total(metrics: dict[str, float], name: str, *labels: str) -> float:
    """The sum of a metric's series that have these labels (`route="upsert"`)."""
    return sum(
        value
        for series, value in metrics.items()
        if series.partition("{")[0] == name and all(label in series for label in labels)
    )


def _look(replicas: Sequence[Replica]) -> Look:
    found = [replica.metrics() for replica in replicas]
    name = "asset_sync_pim_request_duration_seconds"

    def of_writes(ending: str) -> float:
        return sum(
            total(metrics, name + ending, f'route="{route}"')
            for metrics in found
            for route in ("upsert", "delete")
        )

    return Look(
        time.monotonic(),
        sum(total(metrics, "asset_sync_outcomes_total", 'status="applied"') for metrics in found),
        sum(cpu_seconds(replica.process.pid) for replica in replicas),
        of_writes("_count"),
        of_writes("_sum"),
        sum(resident_bytes(replica.process.pid) for replica in replicas),
    )


def _per_cpu_second(first: Look, last: Look) -> float:
    return (last.outcomes - first.outcomes) / (last.cpu_seconds - first.cpu_seconds)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory_bytes(pid: int) -> int:
    """Resident at most, since the process began (Linux)."""
    return _of_status(pid, "VmHWM")


def resident_bytes(pid: int) -> int:
    """Resident now (Linux)."""
    return _of_status(pid, "VmRSS")


def _of_status(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def terminate(replica: Replica) -> float:
    """SIGTERM; seconds until it ended with 0."""
    began = time.monotonic()
    replica.process.send_signal(signal.SIGTERM)
    code = replica.process.wait(120)
    assert code == 0, replica.log.read_text()[-2000:]
    return time.monotonic() - began


def machine() -> str:
    """What this ran on, in a line."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = sys.version.split()[0]
    name = cpu[1].strip() if cpu else "unknown CPU"
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {python}"


def _structure(families: int, *, with_options: bool) -> pim_structure.Structure:
    """Families that differ by their name only."""
    attributes = [
        pim_structure.Attribute("photographer"),
        pim_structure.Attribute("caption", value_per_locale=True),
        pim_structure.Attribute("notes"),
    ]
    if with_options:
        photographers: dict[str, dict[str, str]] = {"ben_levy": {}, "ann_lee": {}}
        colors: dict[str, dict[str, str]] = {"red": {}, "purple": {}}
        attributes[0] = pim_structure.Attribute(
            "photographer", "single_option", options=photographers
        )
        attributes.append(
            pim_structure.Attribute("main_colors", "multiple_options", options=colors)
        )
    codes = [f"family{n:04}" for n in range(families)]
    return pim_structure.Structure(
        {code: pim_structure.family(code, *attributes) for code in codes}
    )


def upsert(
    family: int,
    code: int,
    size: int = 1000,
    *,
    caption: str | None = None,
    with_options: bool = True,
) -> Event:
    """A structured event of about `size` bytes, of a DAM that tells much."""
    caption = caption or f"Side view {code}"
    options = {"main_colors": ["red", "purple"]} if with_options else {}
    event = {
        "action": "upsert",
        "asset_family": f"family{family:04}",
        "code": f"asset_{code:07}",
        "values": {
            "photographer": "ben_levy",
            **options,
            "caption": [{"locale": "en_US", "channel": None, "data": caption}],
            "notes": "",
        },
    }
    missing = size - len(json.dumps(event))
    event["values"]["notes"] = "x" * max(0, missing)  # type: ignore[index]
    return f"family{family:04}/asset_{code:07}".encode(), json.dumps(event).encode()


def delete(family: int, code: int) -> Event:
    """A tombstone."""
    return f"family{family:04}/asset_{code:07}".encode(), None


UNPROXIED = urllib.request.build_opener(urllib.request.ProxyHandler({}))
