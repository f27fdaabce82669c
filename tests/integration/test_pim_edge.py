"""The PIM edge over HTTP and on real Kafka: structure, outages, tokens, throttling.

Each ends with one outcome a change, dead letters whole, and the PIM as the outcomes say.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from service.playground.audit import audit
from service.playground.pim.faults import Fault
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample
from tests.support.proof import assert_dead_letters_whole, upsert
from tests.support.service import Input, SystemUnderTest, system_around

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

FAMILIES = ("packshots", "ambient", "videos", "manuals")


@pytest.fixture
async def system(bootstrap: str, tmp_path: Path) -> AsyncIterator[SystemUnderTest]:
    """A PIM with a real structure, strict about its limits."""
    pim = PimSimulator(sample(), call_seconds=0.03)
    async with system_around(bootstrap, tmp_path, pim) as made:
        yield made


def changes(count: int, partitions: int = 3, start: int = 0) -> list[Input]:
    """Upserts with shorthand values, and deletes, over four families and 120 assets."""
    made: list[Input] = []
    for number in range(start, start + count):
        asset = number % 120
        family, code = FAMILIES[asset % 4], f"a{asset}"
        label = [{"locale": "en_US", "channel": None, "data": f"View {number}"}]
        values: dict[str, object] = {
            "pages": number % 50,
            "usable": number % 2 == 0,
            "label": label,
        }
        value = upsert(family, code, values) if number % 17 else None
        made.append((asset % partitions, f"{family}/{code}".encode(), value))
    return made


async def assert_adds_up(
    system: SystemUnderTest, count: int, seconds: float = 90.0
) -> list[dict[str, Any]]:
    """P1, P2, P3 by the playground's audit; the data of the outcomes."""
    outcomes = await system.outcome_data(count, seconds)
    found = audit(system.values(), outcomes, system.pim.state)
    assert found.flaws == [], system.logs()[-3000:]
    data = [outcome["data"] for outcome in outcomes]
    await assert_dead_letters_whole(system, data)
    return data


async def go_on_until_told(system: SystemUnderTest) -> None:
    """Change an asset that is well until all is told: no write, no proof that the PIM is well."""
    for number in range(40):
        await system.publish([(0, None, upsert("manuals", "well", {"pages": number}))])
        if len(await system.outcome_data(len(system.published), 2)) == len(system.published):
            break


def statuses(data: list[dict[str, Any]]) -> Counter[str]:
    """How many of each."""
    return Counter(found["status"] for found in data)


async def test_shorthand_values_take_the_pims_shape(system: SystemUnderTest) -> None:
    """One colour for several, a bare text for a locale; what fits nothing is rejected early."""
    lines: list[dict[str, object]] = [
        {"main_colors": "red", "usage": ["web"], "usable": "true", "label": "Side"},
        {"main_colors": ["red", "teal"]},
        {"colour_typo": "x"},
        {"pages": "-3"},
    ]
    records: list[Input] = [
        (0, None, upsert("packshots", f"a{number}", values)) for number, values in enumerate(lines)
    ]
    await system.publish(records)
    system.start(STRUCTURE__DEFAULT_LOCALE="en_US")

    outcomes = [outcome["data"] for outcome in await system.outcome_data(4)]
    by_code = {found["code"]: found for found in outcomes}

    assert by_code["a0"]["status"] == "applied"
    assert system.pim.state["packshots", "a0"].values == {
        "main_colors": {(None, None): ["red"]},
        "usage": {(None, None): "web"},
        "usable": {(None, None): True},
        "label": {("en_US", None): "Side"},
    }
    messages = [by_code[code]["message"] for code in ("a1", "a2", "a3")]
    for message, said in zip(
        messages,
        (
            "main_colors has no option teal.",
            "The family has no attribute colour_typo.",
            "pages accepts at least 0; -3 given.",
        ),
        strict=True,
    ):
        assert message.startswith(said)
    assert {by_code[code]["reason"] for code in ("a1", "a2", "a3")} == {"invalid_values"}
    assert system.pim.counts["upsert"] == 1


async def test_a_new_colour_is_created_once(system: SystemUnderTest) -> None:
    """300 events, one option call."""
    records: list[Input] = [
        (n % 3, None, upsert("packshots", f"a{n}", {"main_colors": ["teal"]})) for n in range(300)
    ]
    await system.publish(records)
    system.start(STRUCTURE__CREATE_OPTIONS="true")

    data = [outcome["data"] for outcome in await system.outcome_data(300)]

    assert statuses(data) == {"applied": 300}
    assert system.pim.counts["option"] == 1


async def test_an_outage_of_a_minute(system: SystemUnderTest) -> None:
    """Every route answers 503 for 60 s: nothing fails, nothing is lost."""
    system.pim.faults.add(Fault(route="any", status=503, times=None), seconds=60)
    await system.publish(changes(900))
    system.start()

    data = await assert_adds_up(system, 900, 120)

    assert statuses(data)["failed"] == 0


@pytest.mark.parametrize("retry_after", ["1", None])
async def test_storms_of_429(system: SystemUnderTest, retry_after: str | None) -> None:
    """With and without Retry-After."""
    storm = Fault(route="any", status=429, retry_after=retry_after, body="json", times=None)
    system.pim.faults.add(storm, seconds=8)
    await system.publish(changes(900))
    system.start()

    data = await assert_adds_up(system, 900)

    assert statuses(data)["failed"] == 0


async def test_tokens_run_out_under_load(system: SystemUnderTest) -> None:
    """Access tokens expire, then refresh tokens are gone too, then the password changes."""
    replica = system.start()
    for number, trouble in enumerate((system.pim.tokens.expire, system.pim.tokens.forget)):
        await system.publish(changes(600, start=number * 600))
        await system.outcome_data(number * 600 + 100)
        trouble()
    data = await assert_adds_up(system, 1200)

    assert statuses(data)["failed"] == 0
    assert replica.poll() is None


async def test_a_password_that_changes_in_its_file(system: SystemUnderTest) -> None:
    """Refused, said, and taken up from the file without a restart."""
    secret = system.folder / "password"
    secret.write_text("password\n")
    variables = {"PIM__PASSWORD_FILE": str(secret)}
    without = {k: v for k, v in system.settings().items() if not k.endswith("PIM__PASSWORD")}
    system.settings = lambda: without  # type: ignore[method-assign]
    await system.publish(changes(300))
    system.start(**variables)
    await system.outcome_data(300)
    system.pim.tokens.password = "rotated"
    system.pim.tokens.forget()
    await system.publish(changes(300, start=300))
    await system.until_logged("refuses the credentials")
    secret.write_text("rotated\n")

    data = await assert_adds_up(system, 600, 120)

    assert statuses(data)["failed"] == 0
    assert "refuses the credentials" in system.logs()
    assert "rotated" not in system.logs()


async def test_a_poison_asset_and_a_failing_family(system: SystemUnderTest) -> None:
    """Both end `failed`; nobody else does."""
    system.pim.faults.add(Fault(route="upsert", asset="a4", status=500, times=None))
    system.pim.faults.add(Fault(route="write", family="videos", status=502, times=None))
    await system.publish(changes(600))
    system.start(RETRY__MAX_ATTEMPTS="3", RETRY__MAX_SECONDS="5")
    for number in range(12):
        await asyncio.sleep(2)
        await system.publish(changes(10, start=600 + 10 * number))
    await go_on_until_told(system)

    outcomes = await system.outcome_data(len(system.published))
    data = [outcome["data"] for outcome in outcomes]

    assert len({outcome["id"] for outcome in outcomes}) == len(outcomes) == len(system.published)
    failed = {
        (found["asset_family"], found["code"]) for found in data if found["status"] == "failed"
    }
    assert failed
    assert {f for f in failed if f[0] != "videos"} <= {("packshots", "a4")}
    innocent = [f for f in data if f["asset_family"] != "videos" and f["code"] != "a4"]
    assert {found["status"] for found in innocent} <= {"applied", "superseded"}


async def test_a_replica_joins_at_full_load(system: SystemUnderTest) -> None:
    """The simulator answers 429 above four calls at once: the shares keep that limit (P8)."""
    system.pim.call_seconds = 0.05
    await system.publish(changes(6000))
    system.start()
    await system.outcome_data(1000)
    system.start()
    data = await assert_adds_up(system, 6000, 120)

    calls = sum(system.pim.counts.values()) - system.pim.counts["throttled"]
    assert system.pim.counts["throttled"] <= calls / 100, json.dumps(system.pim.counts)
    assert statuses(data)["failed"] == 0


async def test_an_outage_of_writes_only(system: SystemUnderTest) -> None:
    """GETs are well: only a write proves that writes work; nothing fails."""
    system.pim.faults.add(Fault(route="write", status=502, times=None), seconds=12)
    await system.publish(changes(300))
    system.start()

    assert statuses(await assert_adds_up(system, 300))["failed"] == 0


async def test_an_ingress_that_answers_404(system: SystemUnderTest) -> None:
    """HTML on every route: no family is unknown, nothing is rejected."""
    system.pim.faults.add(Fault(route="any", status=404, times=None), seconds=10)
    await system.publish(changes(300))
    system.start()

    assert statuses(await assert_adds_up(system, 300)).keys() <= {"applied", "superseded"}


async def test_a_misspelt_family_as_the_only_one(system: SystemUnderTest) -> None:
    """A typo is no outage."""
    records: list[Input] = [(0, None, upsert("pack_shots", f"a{n}", {})) for n in range(5)]
    records.append((0, b"pack_shots/b", None))
    await system.publish(records)
    system.start()

    data = await assert_adds_up(system, 6, 30)

    assert {found["reason"] for found in data} == {"unknown_family"}


async def test_a_missing_delete_right(system: SystemUnderTest) -> None:
    """403 on DELETE alone: those fail as forbidden, every upsert is applied."""
    system.pim.rights.discard("delete")
    await system.publish(changes(300))
    system.start(RETRY__MAX_ATTEMPTS="3", RETRY__MAX_SECONDS="3")
    for number in range(8):
        await asyncio.sleep(2)
        await system.publish(changes(16, start=301 + 17 * number))
    await go_on_until_told(system)
    data = await assert_adds_up(system, len(system.published))

    by_action = Counter((found["action"], found["status"]) for found in data)
    assert by_action.keys() <= {("delete", "failed"), ("upsert", "applied")}
    failed = [found for found in data if found["status"] == "failed"]
    assert {found["reason"] for found in failed} == {"forbidden"}


async def test_four_hanging_assets(system: SystemUnderTest) -> None:
    """One in each family holds its slot for the timeout; the rest is through long before."""
    for number in range(4):
        hang = Fault(route="upsert", family=FAMILIES[number], asset=f"hang{number}", hang=True)
        system.pim.faults.add(msgspec.structs.replace(hang, times=None))
    hanging: list[Input] = [
        (0, None, upsert(FAMILIES[number], f"hang{number}", {})) for number in range(4)
    ]
    await system.publish(hanging + changes(600))
    system.start(PIM__TIMEOUT_SECONDS="1", RETRY__MAX_ATTEMPTS="2")
    for number in range(10):
        await asyncio.sleep(2)
        await system.publish(changes(12, start=600 + 12 * number))
    await go_on_until_told(system)

    data = await assert_adds_up(system, len(system.published))

    failed = {found["code"] for found in data if found["status"] == "failed"}
    assert failed == {f"hang{number}" for number in range(4)}


async def test_a_failing_family_alone_waits_until_it_recovers(system: SystemUnderTest) -> None:
    """Nothing proves the PIM well: nothing fails, and it goes on by itself."""
    system.pim.faults.add(Fault(route="write", family="videos", status=500, times=None), seconds=15)
    records: list[Input] = [
        (0, None, upsert("videos", f"a{number}", {"pages": number % 9})) for number in range(60)
    ]
    await system.publish(records)
    system.start(RETRY__MAX_ATTEMPTS="2", RETRY__MAX_SECONDS="2")

    assert statuses(await assert_adds_up(system, 60)) == {"applied": 60}
