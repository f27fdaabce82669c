"""The commands as a person types them."""

import json
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from tests.support.service import Bench, aside, run

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


LINES = [
    {"action": "upsert", "asset_family": "packshots", "code": "a", "values": {"n": 1}},
    {"action": "delete", "asset_family": "packshots", "code": "b"},
    {
        "specversion": "1.0",
        "id": "e1",
        "source": "/dam",
        "type": "asset.updated",
        "data": {"asset_family": "manuals", "code": "c", "values": {}},
    },
    {"action": "rename"},
]


@pytest.fixture
def file(bench: Bench) -> Path:
    """Three good lines, an empty one, a bad one."""
    path = bench.folder / "events.jsonl"
    path.write_text("\n".join([*map(json.dumps, LINES), "", ""]))
    return path


async def test_publish_then_outcomes(bench: Bench, file: Path) -> None:
    """From a file into the topic; what became of it, filtered and as JSON."""
    published = run(bench, "publish", str(file))
    assert published.returncode == 0, published.stderr
    assert b"4 events published" in published.stdout
    bench.start()
    assert len(await bench.outcome_data(4)) == 4, bench.logs()

    everything = run(bench, "outcomes").stdout.decode()
    assert everything.count("\n") == 4
    assert "packshots/a" in everything
    assert "rejected" in everything
    one = run(bench, "outcomes", "--asset", "packshots/a", "--json").stdout
    assert json.loads(one)["data"]["code"] == "a"
    assert run(bench, "outcomes", "--status", "failed").stdout == b""


async def test_convert_sends_nothing(bench: Bench, file: Path) -> None:
    """What each line would do; exit 1 where one is bad."""
    shown = run(bench, "convert", str(file))
    lines = [json.loads(line) for line in shown.stdout.splitlines()]

    assert shown.returncode == 1
    assert [line.get("action", line.get("status")) for line in lines] == [
        "upsert", "delete", "upsert", "rejected",
    ]  # fmt: skip
    assert lines[0]["values"] == {"n": [{"locale": None, "channel": None, "data": "1"}]}
    assert bench.pim.writes == 0


async def test_convert_reads_standard_input(bench: Bench) -> None:
    """And exits 0 where all is well."""
    assert run(bench, "convert", "-", given=json.dumps(LINES[0]).encode()).returncode == 0


async def test_a_broker_that_is_away(bench: Bench, file: Path) -> None:
    """A sentence, exit 1, no traceback."""
    for words in (("publish", str(file)), ("outcomes",)):
        failed = run(bench, *words, KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:9")
        assert failed.returncode == 1
        assert b"127.0.0.1:9" in failed.stderr
        assert b"Traceback" not in failed.stderr


async def test_a_topic_that_is_missing(bench: Bench) -> None:
    """Likewise."""
    failed = run(bench, "outcomes", KAFKA__OUTCOMES_TOPIC="nowhere")
    assert failed.returncode == 1
    assert b"nowhere" in failed.stderr
    assert b"Traceback" not in failed.stderr


@pytest.mark.parametrize("what", ["events", "outcomes", "asyncapi"])
async def test_schemas_are_json(bench: Bench, what: str) -> None:
    """For tools."""
    assert json.loads(run(bench, "schema", what).stdout)


async def test_the_settings_reference(bench: Bench) -> None:
    """Every variable with its default; secrets have none."""
    shown = run(bench, "schema", "settings").stdout.decode()
    assert "ASSET_SYNC_PIM__BASE_URL" in shown
    assert "ASSET_SYNC_WINDOW__MAX_ASSETS" in shown


async def test_help_on_every_level(bench: Bench) -> None:
    """A line a command, and more for each."""
    names = ("run", "demo", "check", "publish", "outcomes", "convert", "pim-simulator", "schema")
    shown = run(bench, "--help").stdout.decode()
    for name in names:
        assert name in shown
        assert run(bench, name, "--help").returncode == 0


async def test_wrong_settings_of_kafka(bench: Bench, file: Path) -> None:
    """Exit 2 and the variable's name."""
    failed = run(bench, "publish", str(file), KAFKA__SECURITY_PROTOCOL="TLS")
    assert failed.returncode == 2
    assert b"ASSET_SYNC_KAFKA__SECURITY_PROTOCOL" in failed.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--switch", "page_size=many"), b"page_size"),
        (("--switch", "nothing=1"), b"nothing"),
        (("--scenario", "bad.json"), b"bad.json"),
        (("--structure", "bad.json"), b"bad.json"),
    ],
)
async def test_the_simulator_refuses_what_it_cannot_use(
    bench: Bench, words: tuple[str, str], said: bytes
) -> None:
    """Exit 2 and a sentence."""
    (bench.folder / "bad.json").write_text("{nothing")
    failed = run(bench, "pim-simulator", "--port", "0", *words)
    assert failed.returncode == 2
    assert said in failed.stderr
    assert b"Traceback" not in failed.stderr


async def test_check_finds_all_well(bench: Bench) -> None:
    """Kafka, the PIM, the rights: a line each, exit 0."""
    shown = await aside(bench, "check", DRAIN__MAX_SECONDS="75")
    text = shown.stdout.decode()
    assert shown.returncode == 0, text
    for words in (
        f"Topic {bench.events} has 3 partitions and is open to us.",
        "offset.metadata.max.bytes is 4096.",
        "no position yet",
        "Transactional ids",
        "lets us in",
        "the right to delete assets",
        "the right to create and update assets",
        "edition EE",
        "clock and the PIM's agree",
    ):
        assert words in text
    assert bench.pim.state == {}


@pytest.mark.parametrize(
    ("settings", "said", "remedy"),
    [
        ({"KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9"}, "failed  Kafka at", "BOOTSTRAP_SERVERS"),
        (
            {"KAFKA__OUTCOMES_TOPIC": "nowhere"},
            "Kafka has no topic nowhere",
            "asset-sync creates no",
        ),
        ({"PIM__PASSWORD": "wrong"}, "The PIM refuses our credentials", "PIM__CLIENT_ID"),
        ({"PIM__BASE_URL": "http://127.0.0.1:9"}, "The connection failed", "PIM__BASE_URL"),
    ],
)
async def test_check_names_what_fails_and_the_remedy(
    bench: Bench, settings: dict[str, str], said: str, remedy: str
) -> None:
    """Exit 1, no traceback."""
    shown = await aside(bench, "check", **settings)
    text = " ".join(shown.stdout.decode().split())
    assert shown.returncode == 1
    assert " ".join(said.split()) in text
    assert remedy in text
    assert shown.stderr == b""


async def test_check_finds_a_missing_right_and_a_foreign_group(bench: Bench) -> None:
    """403 on DELETE alone; another service's positions."""
    bench.pim.rights.discard("delete")
    await bench.commit({TopicPartition(bench.events, 0): OffsetAndMetadata(3, "somebody's")})
    shown = await aside(bench, "check")
    text = shown.stdout.decode()
    assert shown.returncode == 1
    assert "We have no right to delete assets." in text
    assert "is not asset-sync's" in text


async def test_check_refuses_wrong_settings(bench: Bench) -> None:
    """Exit 2."""
    assert (await aside(bench, "check", WINDOW__MAX_ASSETS="1000")).returncode == 2
