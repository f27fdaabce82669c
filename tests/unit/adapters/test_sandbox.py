"""`check --sandbox`: what a PIM does, beside what is believed of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from click.testing import CliRunner, Result

from service.adapters.akeneo.api import HttpAssetApi, Uploads
from service.adapters.akeneo.sandbox import CODE_PREFIX, NoAnswerError, Sandbox
from service.adapters.akeneo.sandbox_questions import QUESTIONS, Answer, SampleFile, answer
from service.cli.check import check
from service.core.send.verdict import ITEMS_MAX
from service.playground.pim import asset_routes
from service.playground.pim.faults import Fault
from service.playground.pim.server import serve
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import family, sample
from service.playground.pim.switches import Switches
from service.settings import PimSettings
from tests.support.pim import credentials_of

FAMILY = "packshots"
OTHERWISE = Switches(
    duplicate_in_batch="refuse",
    hyphen_in_code="accept",
    case_of_codes="folded",
    erased_value="null",
    unknown_family_on_bulk="items",
    empty_array="refuse",
    json_number="accept",
    short_date="accept",
    missing_media_file="accept",
    page_size=10,
    empty_map="list",
)
"""A PIM that answers the open questions in the other way."""


@asynccontextmanager
async def served(pim: PimSimulator) -> AsyncIterator[tuple[str, Sandbox]]:
    """Serve a PIM, and yield its URL and a sandbox in it."""
    pim.calls_per_second_max = 10_000
    runner, url = await serve(pim)
    settings = PimSettings.model_validate({"base_url": url, "app_token": "unused"})
    uploads = Uploads(SampleFile(), settings.timeout_seconds)
    api = HttpAssetApi(settings, lambda: credentials_of(pim), uploads=uploads)
    try:
        yield url, Sandbox(api, FAMILY, calls_per_second=1_000)
    finally:
        await api.close()
        await runner.cleanup()


async def answers_of(pim: PimSimulator) -> list[Answer]:
    """Return the answers of a PIM, which is as empty afterwards as it was before."""
    async with served(pim) as (_, sandbox):
        await sandbox.open()
        found = [await answer(question, sandbox) for question in QUESTIONS]
        assert await sandbox.clean_up() == []
    assert pim.state == {}
    return found


async def test_the_simulator_is_as_believed() -> None:
    """So the tests of the service are tests with what is believed of a PIM."""
    found = await answers_of(PimSimulator(sample()))
    assert {one.question.text: one.found for one in found if one.grade != "ok"} == {}
    assert len(found) == len(QUESTIONS)


async def test_a_pim_that_differs_where_documents_are_open() -> None:
    """Each switch of the simulator is seen, as a warning."""
    found = await answers_of(PimSimulator(sample(), switches=OTHERWISE))
    assert {one.question.source: one.found for one in found if one.grade == "warning"} == {
        "§13, 1": "201, 422",
        "§13, 2": "201",
        "§13, 3": "one asset",
        "§13, 4": "null",
        "§4.3": "null",
        "§13, 5": "items with 422",
        "§13, 6": "400",
        "§13, 7": "201",
        "§13, 8": "201",
        "§13, 9": "201",
        "§13, 11": "10 assets",
        "§13, 15": "[]",
    }
    assert not [one for one in found if one.grade == "failed"]


async def test_a_pim_that_differs_from_its_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """asset-sync relies on these: they fail the check."""
    monkeypatch.setattr(asset_routes, "ITEMS_MAX", 10 * ITEMS_MAX)
    found = await answers_of(PimSimulator(sample()))
    assert [one.found for one in found if one.grade == "failed"] == ["200, some are stored"]


async def test_a_family_that_lacks_attributes() -> None:
    """What cannot be asked is said, with what the family needs."""
    structure = sample()
    structure.families[FAMILY] = family(FAMILY)
    found = await answers_of(PimSimulator(structure))
    skipped = {one.question.text: one.found for one in found if one.grade == "skipped"}
    assert skipped["a media file"] == (
        "not asked: the family has no media_file attribute without locales"
    )
    assert len(skipped) == 10
    assert {one.grade for one in found} == {"ok", "skipped"}


async def test_a_question_without_an_answer_stops_no_other() -> None:
    """And the clean-up tries every code."""
    pim = PimSimulator(sample())
    pim.faults.add(Fault(route="upload", cut="before", times=None))
    found = await answers_of(pim)
    assert [one.question.text for one in found if one.grade == "failed"] == ["a media file"]


async def test_what_cannot_be_deleted_is_named() -> None:
    """A connection without the right to delete leaves assets behind."""
    pim = PimSimulator(sample())
    pim.rights = {"read", "write"}
    async with served(pim) as (_, sandbox):
        await sandbox.open()
        await sandbox.upsert({"code": sandbox.code("a")})
        (left,) = await sandbox.clean_up()
    assert (FAMILY, left) in pim.state
    assert left.startswith(CODE_PREFIX)


async def test_a_family_that_is_not_there() -> None:
    async with served(PimSimulator(sample())) as (_, sandbox):
        sandbox.family = "nowhere"
        with pytest.raises(NoAnswerError, match="answered 404"):
            await sandbox.open()


async def test_throttling_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 429 is no answer to a question."""
    monkeypatch.setattr("service.adapters.akeneo.sandbox.RETRY_SECONDS", 0.01)
    pim = PimSimulator(sample())
    async with served(pim) as (_, sandbox):
        await sandbox.open()
        pim.faults.add(Fault(route="upsert", status=429, times=3))
        assert (await sandbox.upsert({"code": sandbox.code("a")})).in_short == "201"
        pim.faults.add(Fault(route="upsert", status=429, times=None))
        with pytest.raises(NoAnswerError, match="throttles"):
            await sandbox.upsert({"code": sandbox.code("b")})


async def run_check(
    pim: PimSimulator, monkeypatch: pytest.MonkeyPatch, *words: str, answer: str = ""
) -> Result:
    """Run the command against a PIM."""
    fast = partial(Sandbox, calls_per_second=1_000)
    monkeypatch.setattr("service.cli.check_sandbox.Sandbox", fast)
    async with served(pim) as (url, _):
        tokens = pim.tokens
        for name, text in {
            "BASE_URL": url,
            "CLIENT_ID": tokens.client_id,
            "CLIENT_SECRET": tokens.client_secret,
            "USERNAME": tokens.username,
            "PASSWORD": tokens.password,
        }.items():
            monkeypatch.setenv(f"ASSET_SYNC_PIM__{name}", text)
        return await asyncio.to_thread(CliRunner().invoke, check, words, answer)


async def test_the_command_prints_a_table_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """With exit code 0 where only open questions differ."""
    words = ("--sandbox", "--family", FAMILY, "--yes")
    pim = PimSimulator(sample(), switches=Switches(hyphen_in_code="accept"))
    table = await run_check(pim, monkeypatch, *words)
    assert table.exit_code == 0, table.output
    assert "a hyphen in a code" in table.output
    lines = await run_check(pim, monkeypatch, *words, "--json")
    found = [json.loads(line) for line in lines.stdout.splitlines()]
    assert len(found) == len(QUESTIONS)
    (differs,) = [one for one in found if one["grade"] != "ok"]
    assert differs == {
        "part": "sandbox",
        "grade": "warning",
        "question": "a hyphen in a code",
        "believed": "422",
        "found": "201",
        "source": "docs/akeneo.md §13, 2",
        "is_open": True,
    }


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (("--sandbox", "--family", FAMILY), 2, "give --yes"),
        (("--sandbox",), 2, "--sandbox and --family together"),
        (("--family", FAMILY), 2, "--sandbox and --family together"),
        (("--sandbox", "--family", "nowhere", "--yes"), 1, "nowhere cannot be used"),
    ],
)
async def test_the_command_writes_nothing_unasked(
    words: tuple[str, ...], exit_code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can be asked, it wants `--yes`."""
    pim = PimSimulator(sample())
    done = await run_check(pim, monkeypatch, *words)
    assert (done.exit_code, said in done.output) == (exit_code, True), done.output
    assert not pim.writes


async def test_the_command_asks_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its question names the family and the PIM."""
    monkeypatch.setattr("service.cli.check_sandbox.is_asked", lambda: True)
    pim = PimSimulator(sample())
    words = ("--sandbox", "--family", FAMILY)
    refused = await run_check(pim, monkeypatch, *words, answer="n\n")
    assert (refused.exit_code, pim.writes) == (1, 0)
    assert f"test assets to the family {FAMILY} of http://127.0.0.1:" in refused.output
    accepted = await run_check(pim, monkeypatch, *words, answer="y\n")
    assert accepted.exit_code == 0, accepted.output
    assert pim.writes > 100


def test_settings_that_cannot_be_used_are_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """One object for each line."""
    monkeypatch.setenv("ASSET_SYNC_WINDOW__MAX_ASSETS", "1000")
    done = CliRunner().invoke(check, ["--json"])
    assert done.exit_code == 2
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["part"] for one in found} == {"settings"}
    assert any("WINDOW__MAX_ASSETS" in one["message"] for one in found)
