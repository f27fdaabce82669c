"""The console's port: who is answered, with which headers, and what a failure looks like."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import aiohttp
import pytest

from service.adapters.http.console_server import SEARCHES_MAX, ConsoleHandlers, ConsoleServer
from service.console.facts import PageAnswered, SearchEnded
from service.console.hits import Hits, IndexState
from service.console.links import Links
from service.console.query import Query
from service.console.waiting import Waiting
from service.core.facts import Fact
from tests.support.console import NOW_MS, entry


@dataclass
class Bench:
    """A running server whose searches a test answers."""

    hits: Hits | None = field(default_factory=lambda: Hits((entry(1),)))
    facts: list[Fact] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    url: str = ""
    server: ConsoleServer | None = None

    async def search(self, query: Query) -> Hits | None:
        self.queries.append(query)
        return self.hits

    async def ask(self) -> Waiting:
        return Waiting((), ())

    async def get(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, str, Mapping[str, str]]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, headers=headers) as answer,
        ):
            return answer.status, await answer.text(), answer.headers


@contextlib.asynccontextmanager
async def bench_of(
    user_header: str | None = None, *, replicas: bool = True
) -> AsyncIterator[Bench]:
    """Serve until the block ends."""
    bench = Bench()
    bench.server = ConsoleServer(
        ConsoleHandlers(
            search=bench.search,
            index=lambda: IndexState(1, 1, NOW_MS, 0),
            replicas=bench if replicas else None,
            links=Links(),
            user_header=user_header,
            note=bench.facts.append,
        )
    )
    bench.url = f"http://127.0.0.1:{await bench.server.open('127.0.0.1', 0)}"
    try:
        yield bench
    finally:
        await bench.server.close()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/", 200, "Where is my asset?"),
        ("/?code=sku_1", 200, "sku_1"),
        ("/?from=nonsense", 200, "is not a day"),
        ("/asset?family=packshots&code=sku_1", 200, "History, newest first"),
        ("/asset?family=packshots", 400, "The address names no asset"),
        ("/waiting", 200, "What is waiting now"),
        ("/style.css", 200, "prefers-color-scheme"),
        ("/nothing", 404, "There is no such page"),
        ("/../etc/passwd", 404, "There is no such page"),
        ("/?code=%ff%fe%00", 200, "Where is my asset?"),
        ("/?code=" + "x" * 5000, 200, "Where is my asset?"),
    ],
)
async def test_a_page_is_answered(path: str, status: int, words: str) -> None:
    """Every answer forbids scripts and foreign content, is not kept, and sets no cookie."""
    async with bench_of() as bench:
        found, text, headers = await bench.get(path)
    assert found == status
    assert words in text
    assert bench.facts[-1] == PageAnswered(str(status))  # type: ignore[arg-type]
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "set-cookie" not in headers


async def test_only_get_and_head_are_answered() -> None:
    async with bench_of() as bench:
        assert (await bench.get("/", "HEAD"))[:2] == (200, "")
        assert [(await bench.get("/", method))[0] for method in ("POST", "PUT", "DELETE")] == [
            405
        ] * 3


async def test_a_reader_is_named_by_the_proxy() -> None:
    async with bench_of("X-Auth-Request-Email") as bench:
        status, text, _ = await bench.get("/?code=x")
        assert (status, bench.queries) == (403, [])
        assert "Sign in first" in text
        assert (await bench.get("/", **{"x-auth-request-email": " "}))[0] == 403
        status, text, _ = await bench.get("/?code=x", **{"x-auth-request-email": "<ann>"})
        assert status == 200
        assert "&lt;ann&gt;" in text


async def test_without_the_setting_no_header_is_shown() -> None:
    async with bench_of() as bench:
        _, page, _ = await bench.get("/", **{"x-auth-request-email": "mallory"})
    assert "mallory" not in page


async def test_without_replicas_there_is_no_page_of_them() -> None:
    async with bench_of(replicas=False) as bench:
        assert (await bench.get("/waiting"))[0] == 404
        assert "waiting" not in (await bench.get("/"))[1]


async def test_a_search_is_measured() -> None:
    async with bench_of() as bench:
        await bench.get("/?code=a*")
    (searched,) = [fact for fact in bench.facts if isinstance(fact, SearchEnded)]
    assert searched.kind == "prefix"
    assert 0 <= searched.seconds < 5


async def test_an_index_that_is_being_built_says_so() -> None:
    async with bench_of() as bench:
        bench.hits = None
        status, text, _ = await bench.get("/?code=a")
    assert status == 503
    assert "is being built" in text


async def test_too_many_searches_are_turned_away() -> None:
    async with bench_of() as bench:
        assert bench.server is not None
        bench.server._searches = SEARCHES_MAX
        status, text, _ = await bench.get("/?code=a")
        assert (status, bench.queries) == (503, [])
        assert "Too many people" in text
        assert (await bench.get("/"))[0] == 200, "the form needs no search"
