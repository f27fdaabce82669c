"""The service as one process, without its neighbours."""

import asyncio
import errno
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.adapters.telemetry.recent_outcomes import RecentOutcomes
from service.apps import sync, watch
from service.apps.sync import Service
from service.process.shutdown import Shutdown
from service.settings import SettingsError, load
from tests.unit.adapters.test_telemetry import PLACE, partition, status

SETTINGS = {
    "ASSET_SYNC_PIM__BASE_URL": "http://127.0.0.1:1",
    "ASSET_SYNC_PIM__APP_TOKEN": "-",
    "ASSET_SYNC_HTTP__HOST": "127.0.0.1",
    "ASSET_SYNC_HTTP__PORT": "0",
}


async def test_the_service_ends_with_its_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the watch, a fenced replica or a stuck consumer would stay so for ever."""

    async def at_once(*_: object) -> None:
        """Stand in for a start that needs Kafka."""

    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    async def broken() -> None:
        raise AssertionError("our bug")

    monkeypatch.setattr(sync, "require_topics", at_once)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(sync, "leave_in_time", lambda _: None)
    service = Service(load(SETTINGS, dotenv=None), Shutdown())
    monkeypatch.setattr(service._member.log, "start", at_once)
    monkeypatch.setattr(service._member.consumer, "open", never)
    monkeypatch.setattr(service._member.consumer, "measure_lags", broken)

    with capture_logs() as logged, pytest.raises(AssertionError, match="our bug"):
        await asyncio.wait_for(service.run(), 10)

    [bug] = [line for line in logged if line["event"] == "service.bug"]
    assert bug["exc_info"], "said before closing, which may hang"


async def test_the_folder_of_media_files_comes_and_goes_with_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the service ends before it has begun; without a host there is none."""
    directory = tmp_path / "media"
    given = SETTINGS | {"ASSET_SYNC_MEDIA__DIR": str(directory)}
    Service(load(given, dotenv=None), Shutdown())
    assert not directory.exists()

    async def broken(*_: object) -> None:
        assert len(list(directory.iterdir())) == 1
        raise AssertionError("our bug")

    monkeypatch.setattr(sync, "require_topics", broken)
    on = given | {"ASSET_SYNC_MEDIA__HOSTS": "cdn.example"}
    with capture_logs(), pytest.raises(AssertionError, match="our bug"):
        await Service(load(on, dotenv=None), Shutdown()).run()
    assert list(directory.iterdir()) == []


def test_livez_knows_for_how_long_a_partition_was_not_read() -> None:
    """As the consumer measures it."""
    long_ago = status(partitions=(partition(progressed_utc_ms=0),))
    unread = {PLACE: 1.0}
    pipeline: Any = SimpleNamespace(status=lambda _: long_ago)
    consumer: Any = SimpleNamespace(lags={PLACE: 1}, unread_seconds=lambda: unread)
    settings = load(SETTINGS, dotenv=None).settings
    report = sync._report(settings, pipeline, consumer, RecentOutcomes())
    assert report.live()["partitions"]
    unread[PLACE] = 1000.0
    assert not report.live()["partitions"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MEDIA__DIR", "file/below", "cannot be used for media files: Not a directory"),
        ("MEDIA__CA_FILE", "file", "cannot be used"),
        ("MEDIA__CA_FILE", "none.pem", "cannot be read: No such file"),
    ],
)
async def test_media_settings_that_cannot_be_used(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    """The service does not start, and says which setting it is."""
    (tmp_path / "file").touch()
    given = SETTINGS | {
        "ASSET_SYNC_MEDIA__HOSTS": "cdn.example",
        "ASSET_SYNC_MEDIA__DIR": str(tmp_path / "media"),
        f"ASSET_SYNC_{name}": str(tmp_path / value),
    }
    with pytest.raises(SettingsError) as caught:
        Service(load(given, dotenv=None), Shutdown())
    assert f"ASSET_SYNC_{name}: " in str(caught.value)
    assert said in str(caught.value)


async def test_media_without_a_directory_that_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a container with a read-only root and no volume for MEDIA__DIR."""

    def none_found() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    def read_only(*_: object, **__: object) -> str:
        raise OSError(errno.EROFS, "Read-only file system", "/tmp/x")  # noqa: S108 - not opened

    monkeypatch.setattr(tempfile, "gettempdir", none_found)
    monkeypatch.setattr(tempfile, "mkdtemp", read_only)
    given = SETTINGS | {"ASSET_SYNC_MEDIA__HOSTS": "cdn.example"}
    with pytest.raises(SettingsError) as caught:
        Service(load(given, dotenv=None), Shutdown())
    assert "ASSET_SYNC_MEDIA__DIR: /tmp cannot be used" in str(caught.value)
    assert "Read-only file system" in str(caught.value)
