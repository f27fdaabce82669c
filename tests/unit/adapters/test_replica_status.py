"""Replicas are asked over HTTP: all addresses of a name, at once, and never in vain for long."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from service.adapters import replica_status
from service.adapters.replica_status import HttpReplicas
from service.console.facts import ReplicaUnreachable
from service.console.waiting import Replica, Waiting
from service.core.facts import Fact


@contextlib.asynccontextmanager
async def serving(answer: web.Response | asyncio.Event | asyncio.Barrier) -> AsyncIterator[int]:
    """Serve /status with this answer, or with an empty status after an event, and give the port."""

    async def status(_: web.Request) -> web.Response:
        if isinstance(answer, web.Response):
            return answer
        await answer.wait()
        return web.json_response({"pending_changes": 1, "families": []})

    application = web.Application()
    application.router.add_get("/status", status)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def asked(places: list[tuple[str, int]]) -> tuple[Waiting, list[Fact]]:
    facts: list[Fact] = []
    replicas = HttpReplicas(places, facts.append)
    try:
        return await replicas.ask(), facts
    finally:
        await replicas.close()


async def test_a_replica_says_what_it_works_on() -> None:
    async with serving(web.json_response({"pending_changes": 7, "families": []})) as port:
        waiting, facts = await asked([("127.0.0.1", port), ("localhost", port)])
    assert Replica(pending_changes=7) in waiting.replicas
    assert waiting.pending == 7, "an address that two names have is asked once"
    assert not [fact for fact in facts if "127.0.0.1" in str(fact)]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (web.Response(status=404), "ASSET_SYNC_HTTP__STATUS_PAGE=true"),
        (web.Response(status=500), "its answer (500) is not a status"),
        (web.Response(text="ok"), "its answer (200) is not a status"),
        (web.Response(body=b" " * 200), "more than 100 bytes"),
        (asyncio.Event(), "no answer within 1 s"),
    ],
)
async def test_a_replica_that_says_nothing_is_named(
    answer: web.Response | asyncio.Event, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_status, "ANSWER_BYTES_MAX", 100)
    seconds_max = 1.0 if isinstance(answer, asyncio.Event) else 60.0
    monkeypatch.setattr(replica_status, "ANSWER_SECONDS_MAX", seconds_max)
    async with serving(answer) as port:
        waiting, facts = await asked([("127.0.0.1", port)])
    ((address, said),) = waiting.unreachable
    assert address == f"127.0.0.1:{port}"
    assert why in said
    assert facts == [ReplicaUnreachable(address, said)]


async def test_a_closed_port_and_an_unknown_name_are_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        waiting, _ = await asked([("127.0.0.1", port), ("nobody.invalid", 1), ("x" * 300, 1)])
    assert [why.split(":")[0] for _, why in waiting.unreachable] == [
        "its name cannot be resolved",
        "its name cannot be resolved",
        "The connection failed",
    ]


async def test_replicas_are_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these answers only when all of them were asked."""
    monkeypatch.setattr(replica_status, "ANSWER_SECONDS_MAX", 60.0)
    all_asked = asyncio.Barrier(3)
    async with serving(all_asked) as one, serving(all_asked) as two, serving(all_asked) as three:
        waiting, _ = await asked([("127.0.0.1", port) for port in (one, two, three)])
    assert len(waiting.replicas) == 3


async def test_readers_share_an_answer_for_a_moment() -> None:
    async with serving(web.json_response({"pending_changes": 1})) as port:
        replicas = HttpReplicas([("127.0.0.1", port)], lambda _: None)
        first, second = await asyncio.gather(replicas.ask(), replicas.ask())
        await replicas.close()
    assert first is second
