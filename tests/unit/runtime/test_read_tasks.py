"""The reads of a translator: each ends once, and a bug in one ends the program."""

import asyncio

import pytest

from service.mapping.results import NotFound
from service.runtime.inbox import RunnerInbox
from service.runtime.read_tasks import ReadTasks
from service.translation.messages import ReadAnswered
from service.translation.read_answers import Found, ReadAnswer
from service.translation.reads import StartRead
from tests.support.standing_clock import StandingClock


class ScriptedHosts:
    """Hosts that answer by the URL: `/slow` never, `/bug` with an exception."""

    async def get(self, host: str, url: str) -> ReadAnswer:
        if url == "/slow":
            await asyncio.get_running_loop().create_future()
        if url == "/bug":
            raise AssertionError("our bug")
        return NotFound() if url == "/gone" else Found(host.encode())


async def tasks() -> tuple[ReadTasks, RunnerInbox[ReadAnswered]]:
    """Tasks for these hosts, and the inbox that they report to."""
    inbox = RunnerInbox[ReadAnswered](StandingClock())
    return ReadTasks(ScriptedHosts(), inbox), inbox


async def test_each_read_is_answered_once() -> None:
    """With the number that it was started with."""
    made, inbox = await tasks()
    for number, url in enumerate(("/a", "/gone")):
        made.perform(StartRead(number, "dam", url))
    await asyncio.sleep(0)

    assert list(inbox.take()) == [ReadAnswered(0, Found(b"dam")), ReadAnswered(1, NotFound())]
    await made.close()


async def test_what_is_under_way_is_cancelled_at_the_end() -> None:
    """Nothing is reported any more."""
    made, inbox = await tasks()
    made.perform(StartRead(0, "dam", "/slow"))
    await asyncio.sleep(0)
    await asyncio.wait_for(made.close(), 5)

    assert list(inbox.take()) == []


async def test_a_bug_ends_the_runner() -> None:
    """Faults of a host are values, so an exception is not one of them."""
    made, inbox = await tasks()
    made.perform(StartRead(0, "dam", "/bug"))
    await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="our bug"):
        await inbox.wait(0.0)
    await made.close()
