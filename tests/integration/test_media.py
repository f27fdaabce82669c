"""Media files with processes and a real broker: every asset ends with the file of its event."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from service.adapters.media.folder import PREFIX
from service.playground.pim.faults import Fault
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample
from tests.support.file_source import sha256_of
from tests.support.media import Source, say, serving
from tests.support.proof import upsert
from tests.support.raw import Item, raw_system
from tests.support.service import Input, SystemUnderTest, system_around

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

FILES = 200
EVENTS = 1000

DRAIN_SECONDS = 3
ENDING_SECONDS_MAX = 15
"""What a process on a busy machine may take after its drain to leave the group and to close."""

CALM = {"KAFKA__SESSION_TIMEOUT_SECONDS": "30"}
"""A busy replica keeps its partitions: another owner would upload some files again."""

MAPPING = """
version: 1
sources:
  bucket:
    topics: [raw.bucket.{suffix}]
    event: {{id: id}}
    for_each: items
    family: {{const: packshots}}
    code: code
    values:
      media: {{file: {{url: "{{dam}}/{{folder|url}}/{{code}}.jpg?token={{token}}", name: title}}}}
    rules:
      - {{name: kept, do: upsert}}
"""
"""A source whose assets have files, at a URL that is put together."""


class MediaSystem:
    """The system, and a source of files whose content is their path."""

    def __init__(self, system: SystemUnderTest, source: Source, directory: Path) -> None:
        self.system = system
        self.source = source
        self.directory = directory

    def start(self, **settings: str) -> Any:  # noqa: ANN401 - a process
        """Start a replica with media, which waits long enough for a PIM on a busy machine."""
        given = {
            "MEDIA__PRIVATE_HOSTS": "localhost",
            "MEDIA__DIR": str(self.directory),
            "PIM__TIMEOUT_SECONDS": "60",
        }
        return self.system.start(**(given | settings))

    def event(self, code: str, path: str, **more: object) -> Input:
        """An event that gives an asset a file."""
        file = {"url": f"{self.source.url}{path}", **more}
        partition = sum(code.encode()) % 3
        return partition, f"packshots/{code}".encode(), upsert("packshots", code, {"media": file})

    async def outcomes(self, count: int, seconds: float = 90.0) -> dict[str, dict[str, Any]]:
        """The data of the outcomes by asset, each asset once."""
        found = [outcome["data"] for outcome in await self.system.outcome_data(count, seconds)]
        by_code = {data["code"]: data for data in found}
        assert len(by_code) == len(found) == count, self.system.logs()[-3000:]
        return by_code

    def file_of(self, code: str) -> bytes | None:
        """The content of the file that the asset has in the PIM."""
        return file_of(self.system.pim, code)

    async def until_uploads(self, count: int) -> None:
        """Wait until so many uploads have begun."""
        async with asyncio.timeout(60):
            while self.uploads < count:  # noqa: ASYNC110 - the PIM counts
                await asyncio.sleep(0.02)

    @property
    def uploads(self) -> int:
        return self.system.pim.counts["upload"]

    def kept(self) -> list[str]:
        """The files on disk, in the folders of all processes."""
        return [path.name for path in self.directory.glob(f"{PREFIX}*/*") if path.name != "lock"]


def file_of(pim: PimSimulator, code: str) -> bytes | None:
    """The content of the file that an asset has in the PIM."""
    asset = pim.state.get(("packshots", code))
    if asset is None or "media" not in asset.values:
        return None
    return pim.media[asset.values["media"][None, None]]


def plain(number: int) -> Input:
    """An event that gives an asset a text."""
    code = f"plain{number}"
    value = upsert("packshots", code, {"photographer": "ann"})
    return number % 3, f"packshots/{code}".encode(), value


async def echo(request: web.Request) -> web.StreamResponse:
    """Answer with a file whose content is the path."""
    return web.Response(body=request.path.encode(), headers={"ETag": f'"{hash(request.path)}"'})


async def slowly(request: web.Request) -> web.StreamResponse:
    """Answer as `echo`, byte by byte."""
    body = request.path.encode()
    response = web.StreamResponse(headers={"content-length": str(len(body))})
    await response.prepare(request)
    for byte in body:
        await response.write(bytes([byte]))
        await asyncio.sleep(0.01)
    return response


@pytest.fixture
async def media(bootstrap: str, tmp_path: Path) -> AsyncIterator[MediaSystem]:
    """A PIM with a real structure, and a source."""
    directory = tmp_path / "media"
    pim = PimSimulator(sample(), call_seconds=0.01)
    async with serving(echo) as source, system_around(bootstrap, tmp_path, pim) as system:
        yield MediaSystem(system, source, directory)


async def test_every_asset_has_its_file_and_each_file_is_uploaded_once(media: MediaSystem) -> None:
    """1,000 events with 200 files take at most 200 uploads of one replica."""
    events = [media.event(f"a{number}", f"/{number % FILES}.jpg") for number in range(EVENTS)]
    await media.system.publish(events)
    replica = media.start(**CALM)
    outcomes = await media.outcomes(EVENTS)

    assert {data["status"] for data in outcomes.values()} == {"applied"}
    for number in range(EVENTS):
        assert media.file_of(f"a{number}") == b"/%d.jpg" % (number % FILES)
    assert media.uploads == FILES
    assert not media.kept()
    assert replica.stop(30) == 0
    assert list(media.directory.iterdir()) == []


async def test_files_that_cannot_be_had(media: MediaSystem) -> None:
    """Each is the change's own end, and no call is made for it; the others go on."""
    media.source.answers |= {
        "/gone.jpg": say(b"", 404),
        "/large.jpg": say(b"x" * 2000),
        "/login.jpg": say(b"<html>", Content_Type="text/html"),
        "/broken.jpg": say(b"", 500),
        "/moved.jpg": say(b"", 302, Location="https://169.254.169.254/latest/meta-data.jpg"),
    }
    wrong = "0" * 64
    await media.system.publish(
        [
            *(media.event(name, f"/{name}.jpg") for name in ("gone", "large", "login", "moved")),
            media.event("ending", "/a.exe"),
            media.event("digest", "/b.jpg", sha256=wrong),
            (
                0,
                None,
                upsert("packshots", "host", {"media": {"url": "https://evil.example/a.jpg"}}),
            ),
            (0, None, upsert("packshots", "text", {"photographer": {"url": "https://x/a.jpg"}})),
            media.event("broken", "/broken.jpg"),
            media.event("well", "/well.jpg"),
        ]
    )
    media.start(MEDIA__MAX_BYTES="1000", RETRY__MAX_ATTEMPTS="2", RETRY__MAX_SECONDS="5")
    outcomes = await media.outcomes(10)

    refused = {"gone", "large", "login", "moved", "ending", "digest", "host"}
    reasons = {code: data["reason"] for code, data in outcomes.items()}
    assert reasons == {
        **dict.fromkeys(refused, "media_refused"),
        "text": "invalid_values",
        "broken": "media_failed",
        "well": None,
    }
    said = {code: data["message"] for code, data in outcomes.items()}
    for code, words in {
        "gone": "HTTP 404",
        "large": "at most 1,000 bytes",
        "login": "web page",
        "moved": "ASSET_SYNC_MEDIA__HOSTS",
        "broken": "HTTP 500",
    }.items():
        assert words in said[code]
    assert media.uploads == 1
    assert {code for _, code in media.system.pim.state} == {"well"}
    assert not media.kept()


async def test_a_replica_that_is_killed_during_an_upload(media: MediaSystem) -> None:
    """The next one uploads the file again, and removes what was left on disk."""
    media.system.pim.faults.add(Fault(route="upload", hang=True))
    await media.system.publish([media.event("a", "/a.jpg")])
    first = media.start()
    await media.until_uploads(1)
    assert len(media.kept()) == 1
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert len(media.kept()) == 1

    second = media.start()
    outcomes = await media.outcomes(1)
    assert outcomes["a"]["status"] == "applied"
    assert media.file_of("a") == b"/a.jpg"
    assert media.uploads == 2
    assert not media.kept()
    assert len(list(media.directory.iterdir())) == 1
    assert second.stop(30) == 0
    assert list(media.directory.iterdir()) == []


async def test_a_deploy_during_an_upload_that_outlasts_the_drain(media: MediaSystem) -> None:
    """The drain cuts the upload, the next replica sends it again, and nobody else waits for it."""
    media.system.pim.faults.add(Fault(route="upload", hang=True))
    first = media.start(DRAIN__MAX_SECONDS=str(DRAIN_SECONDS), **CALM)
    await media.system.publish([media.event("long", "/long.jpg")])
    await media.until_uploads(1)
    await media.system.publish([plain(number) for number in range(30)])
    before = await media.outcomes(30)
    assert "long" not in before
    assert len(media.system.pim.in_flight) == 1, "the upload goes on"

    await media.system.publish([plain(number) for number in range(30, 60)])
    first.send_signal(signal.SIGTERM)
    began = time.monotonic()
    media.start()
    assert await asyncio.to_thread(first.wait, 30) == 0, media.system.logs()[-3000:]
    assert DRAIN_SECONDS - 1 < time.monotonic() - began < DRAIN_SECONDS + ENDING_SECONDS_MAX
    outcomes = await media.outcomes(61)

    assert {data["status"] for data in outcomes.values()} == {"applied"}
    assert media.file_of("long") == b"/long.jpg"
    assert media.uploads == 2
    assert not media.kept()


async def test_replicas_that_are_killed_again_and_again(media: MediaSystem) -> None:
    """One outcome for each change, the right file for each asset, and nothing left on disk."""
    count, files = 300, 60
    media.source.usual = slowly
    await media.system.publish(
        [media.event(f"a{number}", f"/{number % files}.jpg") for number in range(count)]
    )
    for uploads in (10, 30):
        replica = media.start(PIPELINE__COMMIT_INTERVAL_SECONDS="0.5")
        await media.until_uploads(uploads)
        replica.send_signal(signal.SIGKILL)
        replica.wait()
    last = media.start()
    outcomes = await media.outcomes(count)

    assert {data["status"] for data in outcomes.values()} == {"applied"}
    for number in range(count):
        assert media.file_of(f"a{number}") == b"/%d.jpg" % (number % files)
    assert media.system.pim.at_once_seen <= 4
    assert last.stop(30) == 0
    assert list(media.directory.iterdir()) == []


async def test_a_code_that_the_pim_has_forgotten(media: MediaSystem) -> None:
    """The remembered code is refused, and the file is uploaded once more."""
    media.start(**CALM)
    await media.system.publish([media.event("a", "/a.jpg")])
    await media.outcomes(1)
    media.system.pim.media.clear()
    await media.system.publish([media.event("b", "/a.jpg")])
    outcomes = await media.outcomes(2)

    assert {data["status"] for data in outcomes.values()} == {"applied"}
    assert media.file_of("b") == b"/a.jpg"
    assert media.uploads == 2


async def test_a_file_that_a_mapping_names(bootstrap: str, tmp_path: Path) -> None:
    """A raw event passes two programs; then the PIM has the file, and the outcome tells of it."""
    pim = PimSimulator(sample())
    async with serving(echo) as source, raw_system(bootstrap, tmp_path, pim) as system:
        system.write_sources(MAPPING.format(suffix=system.suffix))
        system.start_translate()
        system.start(MEDIA__PRIVATE_HOSTS="localhost", MEDIA__DIR=str(tmp_path / "media"))
        item: Item = {"code": "boot", "folder": "a b", "token": "signature", "title": "Böse.jpg"}
        raw = await system.publish_raw("bucket", [(0, [item | {"dam": source.url}])])
        [outcome] = await system.outcome_data(1)

        code = outcome["data"]["media"][0]["code"]
        assert (outcome["data"]["status"], outcome["causationid"]) == ("applied", f"{raw[0]}#0")
        assert outcome["data"]["media"] == [
            {
                "attribute": "media",
                "url": f"{source.url}/a%20b/boot.jpg",
                "sha256": sha256_of("/a b/boot.jpg"),
                "bytes": len("/a b/boot.jpg"),
                "code": code,
                "result": "uploaded",
            }
        ]
        assert code.endswith("_B_se.jpg")
        assert file_of(pim, "boot") == b"/a b/boot.jpg"
        assert [path for path, _ in source.asked] == ["/a%20b/boot.jpg?token=signature"]
        assert "signature" not in json.dumps(outcome) + system.logs()
