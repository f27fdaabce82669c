"""Writes beside uploads that take long: the PIM has slots for both, and uploads take half."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from aiohttp import web

from benchmarks.corpus import corpus_event, file_event
from benchmarks.system import (
    UNLIMITED,
    MeasuredSystem,
    measured_system,
    pim_process,
    serving,
)
from benchmarks.usage import Course, metrics, watch
from service.playground.embedded_kafka import EmbeddedKafka
from service.playground.local_system import LoggedProcess
from service.playground.pim.faults import Fault, Phase, Scenario

SLOTS = 4
"""Calls at once; uploads take at most half of them."""
LEFT_SLOTS = SLOTS // 2
CALL_SECONDS = 0.1
UPLOAD_SECONDS = 5.0
"""How long an upload takes. The write of its asset follows, and takes a fiftieth of that time."""
FILES = 200
"""More than are uploaded until the writes are done."""
FAMILIES = 20
BEGIN_SECONDS_MAX = 60.0
SECONDS_MAX = 600.0


async def alone(broker: EmbeddedKafka, folder: Path, count: int) -> Course:
    """Write so many assets with the slots that uploads would leave; return the course."""
    async with _system(broker, folder) as system:
        replica = _start(system, LEFT_SLOTS)
        return await _writes(system, replica, count)


async def beside_uploads(broker: EmbeddedKafka, folder: Path, count: int) -> Course:
    """Write so many assets while uploads of others fill their half of the slots; return the course.

    Raises:
        RuntimeError: the uploads did not fill it all the time.
    """
    async with serving(_file) as port, _system(broker, folder) as system:
        url = f"http://localhost:{port}"
        files = (file_event(n % FAMILIES, count + n, f"{url}/{n}.jpg") for n in range(FILES))
        await system.load(files)
        replica = _start(system, SLOTS)
        await asyncio.to_thread(_wait_for_uploads, replica)
        course = await _writes(system, replica, count)
        if metrics(replica)["asset_sync_assets_waiting_for_files"] <= LEFT_SLOTS:
            raise RuntimeError("The uploads were done before the writes: more files are needed.")
        return course


async def _writes(system: MeasuredSystem, replica: LoggedProcess, count: int) -> Course:
    """Load the writes and watch them; in a thread, because a source serves files meanwhile."""
    await system.load(corpus_event(n % FAMILIES, n) for n in range(count))
    return await asyncio.to_thread(watch, [replica], count, SECONDS_MAX)


def _start(system: MeasuredSystem, slots: int) -> LoggedProcess:
    return system.start_replica(
        PIM__MAX_CALLS_PER_SECOND=UNLIMITED,
        PIM__MAX_CONCURRENCY=slots,
        MEDIA__PRIVATE_HOSTS="localhost",
        MEDIA__DIR=system.folder / "media",
    )


def _wait_for_uploads(replica: LoggedProcess) -> None:
    """Wait until the uploads fill their half of the slots: nothing else is to be sent yet."""
    deadline = time.monotonic() + BEGIN_SECONDS_MAX
    while metrics(replica)["asset_sync_calls_in_flight"] < LEFT_SLOTS:
        if time.monotonic() > deadline:
            raise RuntimeError(replica.log.read_text()[-1500:])
        time.sleep(0.1)


@contextlib.asynccontextmanager
async def _system(broker: EmbeddedKafka, folder: Path) -> AsyncIterator[MeasuredSystem]:
    """Give a system whose PIM takes its time for each call, and more for uploads."""
    slow = Fault(route="upload", delay_seconds=UPLOAD_SECONDS - CALL_SECONDS, times=None)
    scenario = folder / "slow-uploads.json"
    scenario.write_bytes(msgspec.json.encode(Scenario([Phase(slow)])))
    with pim_process(
        folder,
        FAMILIES,
        calls_per_second=UNLIMITED,
        call_seconds=CALL_SECONDS,
        scenario=scenario,
    ) as pim:
        async with measured_system(broker, folder, pim) as system:
            yield system


async def _file(request: web.Request) -> web.Response:
    """Answer with a file of its own for each path."""
    return web.Response(body=request.path.encode())
