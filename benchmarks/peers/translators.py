"""Compares translate with programs that a user might write: uploads of Cloudinary become changes.

A translator is judged by the changes that a committed reader gets. They have to be those of
translate, so that nobody is quick by doing less.
"""

import asyncio
import contextlib
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import raw_events
from benchmarks.peers.bridges import HERE, PYTHON
from benchmarks.peers.watching import mark, start_as_replica, until
from benchmarks.system import MeasuredSystem, reading
from benchmarks.translate import RAW_PARTITIONS, SETTINGS, load, translating
from benchmarks.usage import peak_memory_bytes
from service.playground.embedded_kafka import EmbeddedKafka
from service.playground.local_system import LoggedProcess

UPLOADS = 100_000
FIRST_UPLOADS = 100
COMPARED = frozenset(f"{n % RAW_PARTITIONS}/{n // RAW_PARTITIONS}#0" for n in range(FIRST_UPLOADS))
"""The ids of the changes that have to be the same as those of translate, without the topic."""
KILL_AT = (0.2, 0.6)
"""Shares of the changes at which the translator is killed, in the round with faults."""
SILENCE_SECONDS_MAX = 75.0
"""A round ends when there was no new change for this long.

A transaction of a program that was killed hides the changes behind it for a minute.
"""
SECOND_LOOK_SECONDS = 3.0
"""How long to wait for changes that are there twice, after the last new one."""
OF_THE_PROGRAM = frozenset({"id", "source"})
"""Attributes of a change that name its topic or its program."""


@dataclass(frozen=True)
class Translator:
    """A program that translates; `words` are its Python file and arguments, or none for ours."""

    name: str
    words: tuple[str, ...] = ()

    def start(self, system: MeasuredSystem) -> LoggedProcess:
        """Start its process as one more replica of the system."""
        return start_as_replica(system, self._command(), self._environ(system))

    def _command(self) -> list[str]:
        if not self.words:
            return [sys.executable, "-m", "service", "translate"]
        return [str(PYTHON), str(HERE / "python" / self.words[0]), *self.words[1:]]

    def _environ(self, system: MeasuredSystem) -> dict[str, str]:
        if not self.words:
            file = str(system.folder / "sources.yaml")
            return system.environ(SOURCES_FILE=file, **SETTINGS, KAFKA__SESSION_TIMEOUT_SECONDS="6")
        return os.environ | {
            "PEER_BOOTSTRAP": system.bootstrap,
            "PEER_RAW": raw_events.topic_of("cloudinary", system.suffix),
            "PEER_EVENTS": system.events,
            "PEER_GROUP": system.group,
        }


TRANSLATORS = (
    Translator("asset-sync translate"),
    Translator("FastStream, Python by hand", ("faststream_uploads.py",)),
    Translator("Quix Streams, at least once", ("quix_uploads.py", "at-least-once")),
    Translator("Quix Streams, exactly once", ("quix_uploads.py", "exactly-once")),
)


@dataclass(frozen=True)
class Translation:
    """What a translator did, without faults and with them."""

    uploads_per_cpu_second: float
    uploads_per_second: float
    memory_bytes: int
    duplicated: int
    """Uploads with more than one change, after two kills."""
    missing: int
    """Uploads without a change, after two kills."""


@dataclass
class _Seen:
    """The changes that a committed reader saw."""

    counts: Counter[str] = field(default_factory=Counter)
    """How often each change was there, by its id without the name of the raw topic."""
    contents: dict[str, Any] = field(default_factory=dict)
    """What the changes of `COMPARED` say, by their ids."""

    def take(self, value: bytes) -> None:
        change = msgspec.json.decode(value)
        id_ = change["id"].partition("/")[2]
        self.counts[id_] += 1
        if id_ in COMPARED:
            self.contents[id_] = {name: change[name] for name in change.keys() - OF_THE_PROGRAM}


async def compare(
    translators: Sequence[Translator], broker: EmbeddedKafka, folder: Path
) -> dict[str, Translation]:
    """Run every translator without faults and with them; return what each did.

    Raises:
        RuntimeError: a translator writes other changes than translate.
    """
    if not translators:
        return {}
    ours = await _some_of_ours(broker, folder)
    return {one.name: await _translate(one, broker, folder, ours) for one in translators}


async def _some_of_ours(broker: EmbeddedKafka, folder: Path) -> dict[str, Any]:
    async with _round(broker, folder, FIRST_UPLOADS) as (system, seen):
        await _until(TRANSLATORS[0], system, seen, FIRST_UPLOADS)
        assert seen.contents.keys() == COMPARED, f"only {len(seen.contents)} changes of translate"
        return seen.contents


async def _translate(
    translator: Translator, broker: EmbeddedKafka, folder: Path, ours: dict[str, Any]
) -> Translation:
    async with _round(broker, folder, UPLOADS) as (system, seen):
        process = await _until(translator, system, seen, round(0.1 * UPLOADS))
        first = mark(process, len(seen.counts))
        await _until(translator, system, seen, round(0.9 * UPLOADS))
        took = mark(process, len(seen.counts)).since(first)
        await _until(translator, system, seen, UPLOADS)
        memory = peak_memory_bytes(process.pid)
        _require_same(translator, seen.contents, ours)
    harmed = await _with_kills(translator, broker, folder)
    duplicated = sum(count > 1 for count in harmed.counts.values())
    missing = UPLOADS - len(harmed.counts)
    return Translation(
        took.done / took.cpu_seconds, took.done / took.seconds, memory, duplicated, missing
    )


async def _with_kills(translator: Translator, broker: EmbeddedKafka, folder: Path) -> _Seen:
    async with _round(broker, folder, UPLOADS) as (system, seen):
        for share in KILL_AT:
            process = await _until(translator, system, seen, round(share * UPLOADS))
            process.kill()
            process.wait()
        await _until(translator, system, seen, UPLOADS)
        await asyncio.sleep(SECOND_LOOK_SECONDS)
        return seen


async def _until(
    translator: Translator, system: MeasuredSystem, seen: _Seen, count: int
) -> LoggedProcess:
    """Wait until there are so many changes, or no new ones come; return the translator's process.

    It is started where it does not run, as Kubernetes would.
    """

    def keep_running() -> None:
        if not system.replicas or system.replicas[-1].poll() is not None:
            translator.start(system)

    await until(lambda: len(seen.counts), count, keep_running, SILENCE_SECONDS_MAX)
    return system.replicas[-1]


def _require_same(translator: Translator, found: dict[str, Any], ours: dict[str, Any]) -> None:
    for id_, change in ours.items():
        if found.get(id_) != change:
            raise RuntimeError(f"{translator.name}, {id_}: {found.get(id_)} is not {change}")


@contextlib.asynccontextmanager
async def _round(
    broker: EmbeddedKafka, folder: Path, count: int
) -> AsyncIterator[tuple[MeasuredSystem, _Seen]]:
    async with translating(broker, folder, ["cloudinary"]) as system:
        await load(system, "cloudinary", raw_events.uploads(count))
        seen = _Seen()
        async with reading(system, system.events, seen.take):
            yield system, seen
