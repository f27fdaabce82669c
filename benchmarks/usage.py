"""What replicas did and used.

The numbers come from the operating system (CPU, memory), and from the service's own metrics
(outcomes, durations of calls as the client sees them).
"""

import os
import re
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.playground.local_system import LoggedProcess

ADDITIONS = 5_000_000
"""By how long these take, pages of the same machine can be compared."""
LOOK_SECONDS = 0.5
UNPROXIED = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Look:
    """What all replicas together had done and used at a moment."""

    at: float
    """Seconds (monotonic)."""
    outcomes: float
    """Outcomes of changes that were applied."""
    assets: float
    """Assets in calls that were taken from a window."""
    cpu_seconds: float
    calls: float
    """Write calls to the PIM that ended."""
    busy_seconds: float
    """The sum of the durations of these calls, as the client saw them."""
    memory_bytes: int
    """Resident memory."""


@dataclass
class Course:
    """A run, look by look; rates are those of its middle, without start and last windows."""

    total: int
    looks: list[Look] = field(default_factory=list)

    @property
    def _ends(self) -> tuple[Look, Look]:
        """Return the looks at a tenth and at nine tenths of the outcomes."""
        first = next(look for look in self.looks if look.outcomes >= 0.1 * self.total)
        last = next(look for look in self.looks if look.outcomes >= 0.9 * self.total)
        if first.at == last.at:  # the whole run was between two looks
            return self.looks[0], self.looks[-1]
        return first, last

    @property
    def seconds(self) -> float:
        """The duration of the middle."""
        first, last = self._ends
        return last.at - first.at

    @property
    def outcomes_per_second(self) -> float:
        """Outcomes a second of time."""
        first, last = self._ends
        return (last.outcomes - first.outcomes) / self.seconds

    @property
    def outcomes_per_cpu_second(self) -> float:
        """Outcomes a second of the service's CPU time."""
        return _per_cpu_second(*self._ends)

    @property
    def all_per_cpu_second(self) -> float:
        """Outcomes a second of CPU time in the whole run, for runs that read before they write."""
        return _per_cpu_second(self.looks[0], self.looks[-1])

    def peak_bytes(self, share_from: float, share_to: float) -> int:
        """Return the highest memory between these shares of the outcomes."""
        return max(
            look.memory_bytes
            for look in self.looks
            if share_from * self.total <= look.outcomes <= share_to * self.total
        )

    @property
    def calls_per_second(self) -> float:
        """Write calls a second of time."""
        first, last = self._ends
        return (last.calls - first.calls) / self.seconds

    @property
    def mean_assets(self) -> float:
        """The mean number of assets in a write call."""
        first, last = self._ends
        return (last.assets - first.assets) / (last.calls - first.calls)

    @property
    def mean_call_seconds(self) -> float:
        """The mean duration of a write call, as the client saw it."""
        first, last = self._ends
        return (last.busy_seconds - first.busy_seconds) / (last.calls - first.calls)


def watch(
    replicas: Sequence[LoggedProcess],
    outcomes: int,
    seconds_max: float,
    look_seconds: float = LOOK_SECONDS,
) -> Course:
    """Look at the replicas until this many outcomes are committed; return the course.

    Raises:
        RuntimeError: the outcomes are not committed in time.
    """
    deadline = time.monotonic() + seconds_max
    course = Course(outcomes)
    while not course.looks or course.looks[-1].outcomes < outcomes:
        course.looks.append(_look(replicas))
        if time.monotonic() > deadline:
            logs = "\n".join(replica.log.read_text()[-1500:] for replica in replicas)
            raise RuntimeError(f"{course.looks[-1]} of {outcomes} outcomes in time\n{logs}")
        time.sleep(look_seconds)
    return course


def metrics(replica: LoggedProcess) -> dict[str, float]:
    """Return the metrics of a replica that listens, by name with labels."""
    with UNPROXIED.open(f"{replica.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def total(values: dict[str, float], name: str, *labels: str) -> float:
    """Return the sum of a metric's series that have these labels (`route="upsert"`)."""
    return sum(
        value
        for series, value in values.items()
        if series.partition("{")[0] == name and all(label in series for label in labels)
    )


def _look(replicas: Sequence[LoggedProcess]) -> Look:
    found = [metrics(replica) for replica in replicas]
    name = "asset_sync_pim_request_duration_seconds"

    def of_writes(ending: str) -> float:
        return sum(
            total(one, name + ending, f'route="{route}"')
            for one in found
            for route in ("upsert", "delete")
        )

    return Look(
        time.monotonic(),
        sum(total(one, "asset_sync_outcomes_total", 'status="applied"') for one in found),
        sum(total(one, "asset_sync_call_assets_sum") for one in found),
        sum(cpu_seconds(replica.pid) for replica in replicas),
        of_writes("_count"),
        of_writes("_sum"),
        sum(resident_bytes(replica.pid) for replica in replicas),
    )


def _per_cpu_second(first: Look, last: Look) -> float:
    return (last.outcomes - first.outcomes) / (last.cpu_seconds - first.cpu_seconds)


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory_bytes(pid: int) -> int:
    """Return the highest resident memory of a process since its start (Linux)."""
    return _status_bytes(pid, "VmHWM")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process (Linux)."""
    return _status_bytes(pid, "VmRSS")


def shared_memory_bytes(pid: int) -> int:
    """Return the resident memory of a process, each page divided by the processes that share it.

    So the sum over a process and its children counts each page once (Linux).
    """
    found = re.search(
        r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE
    )
    return int(found[1]) * 1024 if found else 0


def process_family(pid: int) -> list[int]:
    """Return a process, its children and theirs (Linux)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in process_family(int(child)))]


def _status_bytes(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def machine() -> str:
    """Return a line about the machine, Python, and how fast it is at present.

    The same virtual machine may be twice as fast at another hour.
    """
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = sys.version.split()[0]
    name = cpu[1].strip() if cpu else "unknown CPU"
    return (
        f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {python}; "
        f"{ADDITIONS:,} additions take it {_seconds_of_additions():.2f} s of CPU"
    )


def _seconds_of_additions() -> float:
    began = time.process_time()
    total = 0
    for number in range(ADDITIONS):
        total += number
    return time.process_time() - began
