"""`AssetApi`: the same suite on the simulation's PIM and, over HTTP, on the simulator.

So what the simulation proves is proven of a PIM that answers as the simulator does.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from service.contracts.outcome import DELETE, UPSERT, Action
from service.core.inputs import Answer
from service.core.model import Asset, UpsertAsset
from service.core.requests import DeleteOne, GetFamilies, GetFamily, Request, UpsertAssets
from service.core.send.verdict import is_unknown, is_well, judge
from service.core.values import Value
from service.core.verdict_types import ItemKind, Judged, Missing
from service.playground.pim.server import serve
from tests.simulation.pim import SimPim
from tests.support.pim import api_of, simulator

Send = Callable[[Request], Awaitable[Answer]]


async def no_wait() -> None:
    """A permit at once."""


@contextlib.asynccontextmanager
async def in_memory() -> AsyncIterator[Send]:
    """The simulation's PIM."""
    pim = SimPim()

    async def send(request: Request) -> Answer:
        return pim.answer(request)

    yield send


@contextlib.asynccontextmanager
async def over_http() -> AsyncIterator[Send]:
    """The simulator, through our client."""
    pim = simulator()
    runner, url = await serve(pim)
    api = api_of(pim, url)

    async def send(request: Request) -> Answer:
        return await api.send(request, permit=no_wait, may_write=lambda: True)

    yield send
    await api.close()
    await runner.cleanup()


@pytest.fixture(params=[in_memory, over_http])
async def send(request: pytest.FixtureRequest) -> AsyncIterator[Send]:
    """Each test twice."""
    async with request.param() as made:
        yield made


def upsert(*codes: str, family: str = "packshots", attribute: str = "n") -> UpsertAssets:
    """A bulk call."""
    assets = (UpsertAsset(Asset(family, c), {attribute: [Value("1")]}, 0) for c in codes)
    return UpsertAssets(family, tuple(assets))


def statuses(action: Action, codes: tuple[str, ...], answer: Answer) -> list[int | None]:
    """What a successful call says of each asset."""
    verdict = judge(action, codes, answer)
    assert isinstance(verdict, Judged), verdict
    return [item.response.status for item in verdict.items]


async def test_created_then_updated(send: Send) -> None:
    """201, then 204, each asset for itself."""
    assert statuses(UPSERT, ("a",), await send(upsert("a"))) == [201]
    assert statuses(UPSERT, ("b", "a"), await send(upsert("b", "a"))) == [201, 204]


async def test_a_refused_asset_leaves_the_others_alone(send: Send) -> None:
    """One word on each."""
    await send(upsert("a"))
    verdict = judge(UPSERT, ("a",), await send(upsert("a", attribute="bad")))

    assert isinstance(verdict, Judged)
    assert [item.kind for item in verdict.items] == [ItemKind.REFUSED]


async def test_a_delete_and_what_is_absent(send: Send) -> None:
    """204; then 404, while the family is there."""
    await send(upsert("a"))
    assert statuses(DELETE, ("a",), await send(DeleteOne("packshots", "a"))) == [204]
    again = await send(DeleteOne("packshots", "a"))
    assert isinstance(judge(DELETE, ("a",), again), Missing)
    assert is_well(await send(GetFamily("packshots")))


async def test_a_family_that_is_unknown(send: Send) -> None:
    """404 on the bulk call and on the family, 200 on the list."""
    verdict = judge(UPSERT, ("a",), await send(upsert("a", family="typo")))

    assert isinstance(verdict, Missing)
    assert is_unknown(await send(GetFamily("typo")))
    assert is_well(await send(GetFamilies()))
