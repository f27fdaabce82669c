"""The service as one process, without its neighbours."""

import asyncio

import pytest
from structlog.testing import capture_logs

from service.apps import sync, watch
from service.apps.sync import Service
from service.process.shutdown import Shutdown
from service.settings import load

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
