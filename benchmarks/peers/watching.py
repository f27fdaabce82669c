"""How a program is run and judged from outside: by its process, and by what its topic has."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmarks.system import MeasuredSystem
from benchmarks.usage import cpu_seconds
from service.playground.local_system import LoggedProcess

LOOK_SECONDS = 0.2
ROUND_SECONDS_MAX = 240.0


class Mark(NamedTuple):
    """What a program has done by a moment, and the CPU that its process has used."""

    seconds: float
    done: int
    cpu_seconds: float
    pid: int

    def since(self, earlier: "Mark") -> "Mark":
        """Return what lies between the two; seconds and done are never zero.

        Raises:
            RuntimeError: the program was started again meanwhile, so its CPU is not known.
        """
        if self.pid != earlier.pid:
            raise RuntimeError("The program ended while it was measured, and was started again.")
        seconds = max(self.seconds - earlier.seconds, LOOK_SECONDS)
        done = max(1, self.done - earlier.done)
        return Mark(seconds, done, self.cpu_seconds - earlier.cpu_seconds, self.pid)


def mark(process: LoggedProcess, done: int) -> Mark:
    """Return what the program's process has done and used by now."""
    return Mark(time.monotonic(), done, cpu_seconds(process.pid), process.pid)


def start_as_replica(
    system: MeasuredSystem, command: list[str], environ: Mapping[str, str]
) -> LoggedProcess:
    """Start a process as one more replica of the system."""
    log = system.folder / f"program-{len(system.replicas)}.log"
    process = LoggedProcess(command, environ, log)
    system.replicas.append(process)
    return process


async def until(
    count: Callable[[], int],
    wanted: float,
    keep_running: Callable[[], object],
    silence_seconds_max: float,
) -> None:
    """Wait until so many are counted, or there was no new one for too long.

    `keep_running` is called meanwhile: it starts a program that has ended, as Kubernetes would.
    """
    began = grown_at = time.monotonic()
    known = count()
    while known < wanted:
        keep_running()
        await asyncio.sleep(LOOK_SECONDS)
        now, found = time.monotonic(), count()
        if found > known:
            known, grown_at = found, now
        if now - grown_at > silence_seconds_max or now - began > ROUND_SECONDS_MAX:
            return
