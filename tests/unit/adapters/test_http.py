"""The HTTP port of the service: health checks, pages and `POST /release`."""

import asyncio
import dataclasses
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from service.adapters.http import admin_server
from service.adapters.http.admin_server import (
    NOTHING_HELD_BACK,
    AdminHandlers,
    AdminServer,
    NotReleased,
)
from service.adapters.http.release_token import HEADER, TokenFile
from service.cli.release import release
from service.contracts.asyncapi import Topics, asyncapi
from service.core.status import HeldBack, HeldFamily

HELD = HeldBack(
    deletes=(HeldFamily("pack\nshots", 1200, ("a", "b")), HeldFamily("logos", 1, ("c",))),
    further_families=2,
    dead_letters={"unknown_family": 501},
    others=3,
)


RESUMED = (
    "Those over the dead-letter limit become dead letters now; deletes over the ceiling go to the "
    "PIM."
)


@dataclass
class ServedPort:
    """A port, and the state that its handlers report."""

    url: str = ""
    live: dict[str, bool] = field(default_factory=lambda: {"runner": True, "poll": True})
    ready: dict[str, bool] = field(default_factory=lambda: {"group": True, "producer": True})
    lines: list[str] = field(default_factory=list)
    withheld: int | None = None
    released_sources: list[str | None] = field(default_factory=list)
    page: dict[str, Any] = field(default_factory=dict)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def handlers(self, *, with_page: bool) -> AdminHandlers:
        """Return handlers that report this state."""
        return AdminHandlers(
            live=lambda: self.live,
            ready=lambda: self.ready,
            live_lines=lambda: self.lines,
            ready_lines=lambda: self.lines,
            registry=self.registry,
            asyncapi=asyncapi("1.2.3", Topics(outcomes="<outcomes>")),
            release=self._release,
            held_back=self._held_back,
            status=(lambda: self.page) if with_page else None,
        )

    def _held_back(self, _source: str | None) -> HeldBack | NotReleased:
        return NOTHING_HELD_BACK if self.withheld is None else HELD

    def _release(self, source: str | None) -> int | NotReleased:
        self.released_sources.append(source)
        return NOTHING_HELD_BACK if self.withheld is None else self.withheld

    async def get(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Return status, text and headers."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, headers=headers) as answer,
        ):
            return answer.status, await answer.text(), dict(answer.headers)


@pytest.fixture(params=[True, False], ids=["page", "no page"])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[ServedPort]:
    """Yield a port on loopback, with and without the status page."""
    made = ServedPort()
    server = AdminServer(made.handlers(with_page=request.param))
    taken = await server.open("127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{taken}"
    yield made
    await server.close()


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes(port: ServedPort, path: str) -> None:
    """The status is 200 if all checks pass, otherwise 503; `?verbose` lists the checks."""
    assert (await port.get(path))[:2] == (200, "ok\n")
    (port.live if path == "/livez" else port.ready)["producer"] = False
    port.lines.append("[ ]waiting: the PIM throttles")

    status, text, _ = await port.get(path + "?verbose")

    assert status == 503
    assert "[-]producer failed" in text
    assert "[+]" in text
    assert text.endswith("[ ]waiting: the PIM throttles\n")


async def test_the_asyncapi_page_and_its_document(port: ServedPort) -> None:
    """Names are escaped on the page, and the document is also served as JSON."""
    _, page, _ = await port.get("/asyncapi")
    _, document, _ = await port.get("/asyncapi?format=json")

    assert "&lt;outcomes&gt;" in page
    assert "<outcomes>" not in page
    assert document.startswith('{"asyncapi": "3.0.0"')


async def test_requests_that_come_at_once_take_turns_with_the_work(port: ServedPort) -> None:
    """A replica that could not work between them would lose its place in the group."""
    turns = 0
    asked_in: list[int] = []

    async def work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    class _Checks(dict[str, bool]):
        def values(self) -> Any:  # noqa: ANN401 - the type has no public name
            asked_in.append(turns)
            return super().values()

    port.live = _Checks(port.live)
    working = asyncio.create_task(work())
    await asyncio.gather(*(_pipelined(port, b"/livez", 10) for _ in range(20)))
    working.cancel()
    assert len(asked_in) == len(set(asked_in)) == 200


async def test_many_who_ask_for_metrics_share_them(
    port: ServedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = _Counted()
    port.registry.register(counted)
    monkeypatch.setattr(admin_server, "SHARED_SECONDS", 30.0)
    answers = await _pipelined(port, b"/metrics", 50)
    assert (answers.count(b"asked_total 1.0"), counted.times) == (50, 1)

    monkeypatch.setattr(admin_server, "SHARED_SECONDS", 0.0)
    assert "asked_total 2.0" in (await port.get("/metrics"))[1]


async def test_a_client_that_does_not_read_does_not_delay_the_end() -> None:
    server = AdminServer(ServedPort().handlers(with_page=False))
    number = await server.open("127.0.0.1", 0)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", number))
        client.sendall(_request(b"/asyncapi") * 300)
        await asyncio.sleep(0.5)  # its answers fill what the system holds for it
        await asyncio.wait_for(server.close(), 5)


async def test_connections_that_say_nothing_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit they take all descriptors, and neither probes nor the PIM are answered."""
    monkeypatch.setattr(admin_server, "CONNECTIONS_MAX", 3)
    port = ServedPort()
    server = AdminServer(port.handlers(with_page=False))
    number = await server.open("127.0.0.1", 0)
    port.url = f"http://127.0.0.1:{number}"
    silent = [await asyncio.open_connection("127.0.0.1", number) for _ in range(9)]
    for _, writer in silent:
        writer.write(b"GET /livez HTTP/1.1\r\n")
    assert (await port.get("/livez"))[:2] == (200, "ok\n")

    closed = [await _is_closed(reader) for reader, _ in silent]
    assert closed == [True] * 7 + [False] * 2
    for _, writer in silent:
        writer.close()
    await server.close()


async def test_a_request_of_very_many_headers(port: ServedPort) -> None:
    """Each connection would hold a megabyte of them until the request is complete."""
    assert (await port.get("/livez", **{f"x-{n}": "a" for n in range(40)}))[0] == 200
    assert (await port.get("/livez", **{f"x-{n}": "a" for n in range(60)}))[0] == 400


async def _is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), 0.2) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def _request(path: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((b"GET %b HTTP/1.1" % path, b"Host: a", *headers, b"", b""))


async def _pipelined(port: ServedPort, path: bytes, count: int) -> bytes:
    """Send requests without waiting for their answers; return all answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port.url.rpartition(":")[2]))
    writer.write(_request(path) * (count - 1) + _request(path, b"Connection: close"))
    answers = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return answers


class _Counted(Collector):
    """Counts how often it was asked."""

    times = 0

    def collect(self) -> Iterator[Metric]:
        self.times += 1
        yield CounterMetricFamily("asked", "How often.", value=self.times)


async def test_the_status_page_where_it_is_wanted(port: ServedPort) -> None:
    """The page may load and run nothing but itself."""
    port.page["version"] = "1.2.3"
    status, page, headers = await port.get("/")
    if status == 404:
        assert (await port.get("/status"))[0] == 404
        return
    assert status == 200
    assert "<title>asset-sync</title>" in page
    policy = headers["Content-Security-Policy"]
    assert re.match(r"default-src 'none'; connect-src 'self'; script-src 'sha256-", policy)
    assert "unsafe" not in policy
    assert (await port.get("/status"))[1] == '{"version": "1.2.3"}'


async def test_release_with_the_token_alone(port: ServedPort) -> None:
    """A sidecar, a forwarded port, a web page or another method must not release."""
    port.withheld = 7
    file = TokenFile(int(port.url.rpartition(":")[2]))
    token = file.read() or ""
    assert len(token) > 40
    assert file.path.stat().st_mode & 0o777 == 0o600

    for wrong in ({}, {HEADER: ""}, {HEADER: token[:-1]}, {HEADER: "\u00e9"}):
        status, text, _ = await port.get("/release", "POST", **wrong)
        assert (status, str(file.path) in text) == (403, True), wrong
    with_origin = {HEADER: token, "Origin": "http://evil.example"}
    assert (await port.get("/release", "POST", **with_origin))[0] == 403
    assert (await port.get("/release", **{HEADER: token[:-1]}))[0] == 403
    assert (await port.get("/release", **{HEADER: token}))[0] == 200
    assert port.released_sources == []
    for method in ("HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert (await port.get("/release", method, **{HEADER: token}))[0] == 405, method
    assert (await port.get("/release", "POST", **{HEADER: token}))[:2] == (200, '{"released": 7}')
    port.withheld = None
    assert (await port.get("/release", "POST", **{HEADER: token}))[0] == 409


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
async def test_a_release_from_the_own_machine(host: str) -> None:
    """Where the socket takes IPv6 as well, the peer by IPv4 has the address ::ffff:127.0.0.1."""
    served = ServedPort(withheld=7)
    server = AdminServer(served.handlers(with_page=False))
    number = await server.open(host, 0)
    served.url = f"http://127.0.0.1:{number}"
    token = TokenFile(number).read() or ""
    assert (await served.get("/release", "POST", **{HEADER: token}))[:2] == (200, '{"released": 7}')
    await server.close()


@pytest.mark.parametrize("remote", [None, "", "x", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"])
def test_a_release_from_elsewhere(remote: str | None) -> None:
    """Nobody outside of the machine or the pod may release."""
    assert not admin_server._is_loopback(remote)


async def test_the_command_reads_the_token(port: ServedPort) -> None:
    """The command works as the service's user, and explains a missing token file."""
    port.withheld = 7
    number = port.url.rpartition(":")[2]

    async def run_release(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, release, ["--port", number, *words])

    for words in ((), ("--source", "s 3&")):
        done = await run_release(*words)
        assert done.exit_code == 0, done.output
        assert done.output.splitlines() == [
            "Held back:",
            "  1,200 deletes of pack\\nshots: a, b, …",
            "  1 deletes of logos: c",
            "  deletes of 2 more families",
            "  501 dead letters, unknown_family",
            "  3 other changes, which wait behind these",
            f"Resumed. 7 changes were held back. {RESUMED}",
        ]
    assert port.released_sources == [None, "s 3&"]
    TokenFile(int(number)).path.unlink()
    done = await run_release()
    assert (done.exit_code, "is missing or wrong" in done.output) == (1, True), done.output


async def test_the_command_asks_on_a_terminal(
    port: ServedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it showed what is held back; `--yes` answers."""
    port.withheld = 7
    number = port.url.rpartition(":")[2]
    monkeypatch.setattr("service.cli.release.is_asked", lambda: True)
    for words, answer, exit_code, released in (
        ((), "n\n", 1, 0),
        ((), "", 1, 0),
        ((), "y\n", 0, 1),
        (("--yes",), "", 0, 2),
    ):
        command = ["--port", number, *words]
        done = await asyncio.to_thread(CliRunner().invoke, release, command, answer)
        assert (done.exit_code, len(port.released_sources)) == (exit_code, released), done.output
        assert "1,200 deletes of" in done.output
        assert ("Release them?" in done.output) is not bool(words)
    port.withheld = None
    done = await asyncio.to_thread(CliRunner().invoke, release, ["--port", number])
    assert (done.exit_code, "Nothing is held back" in done.output) == (1, True)


async def test_the_port_of_a_program_that_holds_nothing_back() -> None:
    """It is said in a sentence, like every error of a command."""
    handlers = dataclasses.replace(ServedPort().handlers(with_page=False), release=None)
    server = AdminServer(handlers)
    number = str(await server.open("127.0.0.1", 0))
    done = await asyncio.to_thread(CliRunner().invoke, release, ["--port", number])
    assert done.exit_code == 1
    assert "The port answers 404: it does not belong to `asset-sync run`" in done.output
    await server.close()


async def test_release_where_no_token_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a read-only container without a temporary directory, the service still runs."""
    port = ServedPort(withheld=7)
    server = AdminServer(port.handlers(with_page=False))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    port.url = f"http://127.0.0.1:{await server.open('127.0.0.1', 0)}"
    status, text, _ = await port.get("/release", "POST")
    assert (status, "cannot be written" in text, "TMPDIR" in text) == (403, True, True)
    assert (await port.get("/livez"))[0] == 200
    await server.close()


async def test_a_token_file_of_somebody_else_is_no_way_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An existing file is replaced, a link is not followed, and the file goes with the port."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "target").write_text("theirs")
    file = TokenFile(8080)
    file.path.symlink_to(tmp_path / "target")
    token = file.create()
    assert (tmp_path / "target").read_text() == "theirs"
    assert file.read() == token
    assert file.create() != token
    file.remove()
    assert file.read() is None


def test_a_machine_without_a_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only container has none, so the path of the token file is only shown."""

    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)

    assert TokenFile(8080).path == Path("/tmp/asset-sync-release-8080.token")  # noqa: S108 - its name
