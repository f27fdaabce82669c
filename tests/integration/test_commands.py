"""The commands as a person types them."""

import asyncio
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewPartitions
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.tools.time_order import AHEAD_RECORDS_MAX
from tests.support.admin import admin_of
from tests.support.service import SystemUnderTest, aside, run, start_command

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


LINES: list[dict[str, object]] = [
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
def file(system: SystemUnderTest) -> Path:
    """Three good lines, an empty one, a bad one."""
    path = system.folder / "events.jsonl"
    path.write_text("\n".join([*map(json.dumps, LINES), "", ""]))
    return path


async def test_publish_then_outcomes(system: SystemUnderTest, file: Path) -> None:
    """From a file into the topic; what became of it, filtered and as JSON."""
    published = run(system, "publish", "--force", str(file))
    assert published.returncode == 0, published.stderr
    assert b"4 events published" in published.stdout
    system.start()
    assert len(await system.outcome_data(4)) == 4, system.logs()

    everything = run(system, "outcomes").stdout.decode()
    assert everything.count("\n") == 4
    assert "packshots/a" in everything
    assert "rejected" in everything
    one = run(system, "outcomes", "--asset", "packshots/a", "--json").stdout
    assert json.loads(one)["data"]["code"] == "a"
    assert run(system, "outcomes", "--status", "failed").stdout == b""


async def test_publish_sends_nothing_where_a_line_is_no_event(
    system: SystemUnderTest, file: Path
) -> None:
    """It names the line; nothing is on the topic."""
    refused = run(system, "publish", str(file))

    assert refused.returncode == 1
    assert b"line 4: invalid_event" in refused.stderr
    assert b"Nothing was sent: 1 of 4 lines" in refused.stderr
    assert await system.read(system.events, 1, seconds=2) == []


async def test_publish_reads_standard_input(system: SystemUnderTest) -> None:
    """A pipe is linted first, too; a byte order mark and foreign line ends do not matter."""
    lines = [json.dumps(line) for line in LINES[:3]]
    given = b"\xef\xbb\xbf" + "\r\n".join(lines).encode()
    published = run(system, "publish", "-", given=given)

    assert published.returncode == 0, published.stderr
    assert published.stderr == b"", "no progress where nobody looks at it"
    records = await system.read(system.events, 3)
    assert sorted(key or b"" for key, _, _ in records) == [
        b"manuals/c", b"packshots/a", b"packshots/b",
    ]  # fmt: skip
    refused = run(system, "publish", "-", given=given + b"\r\nno event")
    assert b"line 4: undecodable" in refused.stderr
    assert len(await system.read(system.events, 3)) == 3


async def test_publish_says_what_kafka_refuses(system: SystemUnderTest) -> None:
    """The line, the reason, and how many went through all the same."""
    large = LINES[0] | {"values": {"n": "x" * 1_100_000}}
    given = "\n".join(map(json.dumps, [LINES[0], {}, large]))
    refused = run(system, "publish", "--force", "-", given=given.encode())

    assert refused.returncode == 1
    assert b"Kafka refused line 3 as too large" in refused.stderr
    assert b"2 of 3 events were published" in refused.stderr


async def more_partitions(system: SystemUnderTest, topic: str, count: int) -> None:
    """Add partitions to a topic, and wait until the broker tells of them."""
    async with admin_of(system.bootstrap) as admin:
        await admin.create_partitions({topic: NewPartitions(count)})
        for _ in range(100):
            if len((await admin.describe_topics([topic]))[0]["partitions"]) == count:
                break
            await asyncio.sleep(0.1)


def moving_code(before: int, after: int) -> str:
    """The code of an asset that moves to a new partition, away from one that stays its own."""
    partitioner = DefaultPartitioner()
    for number in range(100):
        key = f"packshots/{number}".encode()
        earlier, later = list(range(before)), list(range(after))
        if partitioner(key, earlier, earlier) != partitioner(key, later, later):
            return str(number)
    raise AssertionError("none moves")


async def test_publish_says_which_assets_change_their_partition(system: SystemUnderTest) -> None:
    """Partitions were added: the earlier event lies elsewhere, so there is no order."""
    code = moving_code(system.partitions, 7)
    event = json.dumps(LINES[0] | {"code": code}).encode()
    assert run(system, "publish", "-", given=event).stderr == b""
    await more_partitions(system, system.events, 7)

    moved = run(system, "publish", "-", given=event)
    assert moved.returncode == 0
    assert f"the last event of packshots/{code} (partition".encode() in moved.stderr
    assert b"no order between partitions" in moved.stderr
    assert run(system, "publish", "-", given=event).stderr == b"", "its last event lies right now"


async def test_publish_says_where_another_producer_places_otherwise(
    system: SystemUnderTest,
) -> None:
    """Its own partitioner or no key at all: the asset is the one that its event names."""
    event = json.dumps(LINES[0]).encode()
    partition = DefaultPartitioner()(b"packshots/a", [0, 1, 2], [0, 1, 2])
    await system.publish([((partition + 1) % 3, None, event)])

    moved = run(system, "publish", "-", given=event)
    assert (
        f"packshots/a (partition {(partition + 1) % 3}, now {partition})".encode() in moved.stderr
    )


def outcome(number: int, code: str, message: str = "") -> bytes:
    """An outcome of this version, with a reason and a field of a later one."""
    data = {"status": "rejected", "reason": "new", "message": message, "errors": [], "more": {}}
    whole = {"id": f"dam/0/{number}", "type": "asset-sync.asset.rejected.v1", "data": data}
    return json.dumps(whole | {"subject": f"packshots/{code}"}, ensure_ascii=False).encode()


async def test_outcomes_of_an_asset_from_before_partitions_were_added(
    system: SystemUnderTest,
) -> None:
    """They are shown with the newer ones, in the order of time."""
    code = moving_code(system.partitions, 7)
    key = f"packshots/{code}".encode()
    await write(system, system.outcomes, [(key, outcome(1, code, "first"))])
    await more_partitions(system, system.outcomes, 7)
    await write(system, system.outcomes, [(key, outcome(2, code, "second")), (b"f/x", b"{}")])

    found = run(system, "outcomes", "--asset", key.decode())
    lines = found.stdout.decode().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["first", "second"]
    assert found.stderr == b"", "other assets' records are nothing to tell of"


async def write(
    system: SystemUnderTest, topic: str, records: list[tuple[bytes, bytes | None]]
) -> None:
    """Write records with Kafka's own partitioner, a millisecond after one another."""
    now_ms = round(time.time() * 1000)
    async with AIOKafkaProducer(bootstrap_servers=system.bootstrap) as producer:
        for later_ms, (key, value) in enumerate(records):
            await producer.send_and_wait(topic, value, key=key, timestamp_ms=now_ms + later_ms)


WEBHOOK = """\
version: 1
sources:
  dam:
    topics: [not-written-by-ingress, TOPIC]
    family: {const: packshots}
    code: id
    webhook: {path: /dam, topic: TOPIC, verify: {none: I trust the network}}
    rules: [{do: upsert}]
"""


async def test_topics_are_created_on_request(system: SystemUnderTest, tmp_path: Path) -> None:
    """What is missing is created once, with its policies, so that the check has nothing to say."""
    raw = f"{system.events}.raw"
    sources = tmp_path / "sources.yaml"
    sources.write_text(WEBHOOK.replace("TOPIC", raw))
    events, outcomes = f"{system.events}.new", f"{system.outcomes}.new"

    def command(*words: str) -> subprocess.CompletedProcess[bytes]:
        return run(
            system,
            *words,
            SOURCES_FILE=str(sources),
            KAFKA__EVENTS_TOPICS=events,
            KAFKA__OUTCOMES_TOPIC=outcomes,
        )

    words = ("topics", "create", "--partitions", "5", "--replicas", "1")
    dry = command(*words, "--dry-run")
    assert dry.stdout.count(b"would be created") == 3, dry.stderr
    made = command(*words)
    assert (made.returncode, made.stdout.count(b"created")) == (0, 3), made.stderr
    assert f"created          {raw}".encode() in made.stdout
    assert b"not-written-by-ingress" not in made.stdout
    assert f"exists           {system.dead_letters}".encode() in made.stdout
    again = command(*words)
    assert (again.returncode, again.stdout.count(b"exists")) == (0, 4)
    assert f"{events}  It has 5 partitions.".encode() in again.stdout
    more = command("topics", "create", "--partitions", "7", "--replicas", "2").stdout.decode()
    assert (
        f"{events}  It has 5 partitions, not 7. `kafka-topics.sh --alter --topic {events} " in more
    )
    assert "--partitions 7` adds some." in more
    assert "Its replication factor is 1, not 2." in more
    fewer = command("topics", "create", "--partitions", "4", "--dry-run").stdout
    assert b"It has 5 partitions, not 4. Kafka cannot remove any" in fewer
    assert f"Topic {events} (5 partitions): access granted.".encode() in command("check").stdout
    refused = run(system, "topics", "create", "--replicas", "9", KAFKA__EVENTS_TOPICS="a.b")
    assert refused.returncode == 1
    assert b"refused          a.b  " in refused.stdout
    sources.write_text("version: 2")
    wrong = command(*words)
    assert (wrong.returncode, b"sources.yaml:1" in wrong.stderr) == (2, True), wrong.stderr


async def test_outcomes_in_the_order_of_time(system: SystemUnderTest) -> None:
    """Those of all partitions; the last ones alone; and then each one as it arrives."""
    codes = [f"a{number}" for number in range(8)]
    await write(
        system,
        system.outcomes,
        [(f"packshots/{code}".encode(), outcome(n, code)) for n, code in enumerate(codes)],
    )

    lines = run(system, "outcomes", "--since", "1h").stdout.decode().splitlines()
    assert [line.rpartition("/")[2] for line in lines] == codes
    with start_command(system, "outcomes", "--tail", "1", "--follow") as following:
        assert following.stdout is not None
        assert b"packshots/a7" in await asyncio.to_thread(following.stdout.readline)
        await write(system, system.outcomes, [(b"packshots/b", outcome(9, "b"))])
        assert b"packshots/b" in await asyncio.to_thread(following.stdout.readline)
        following.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(following.wait, 10) == -signal.SIGINT
        assert following.stderr is not None
        assert following.stderr.read() == b""


async def test_outcomes_follows_long_partitions_and_added_ones(system: SystemUnderTest) -> None:
    """Also a partition of which the last poll brought more than may wait for the others."""
    code = moving_code(system.partitions, 7)
    key = f"packshots/{code}".encode()
    async with AIOKafkaProducer(bootstrap_servers=system.bootstrap) as producer:
        for number in range(AHEAD_RECORDS_MAX + 500):
            await producer.send(system.outcomes, outcome(number, code, f"n{number}"), key=key)

    with start_command(system, "outcomes", "--tail", "1", "--follow") as following:
        assert following.stdout is not None
        read = following.stdout.readline
        assert f"n{AHEAD_RECORDS_MAX + 499}".encode() in await asyncio.to_thread(read)
        await write(system, system.outcomes, [(key, outcome(1, code, "next"))])
        assert b"next" in await asyncio.to_thread(read)
        await more_partitions(system, system.outcomes, 7)
        await write(system, system.outcomes, [(key, outcome(2, code, "moved"))])
        assert b"moved" in await asyncio.to_thread(read)
        following.kill()


async def test_outcomes_counts_what_it_does_not_show(system: SystemUnderTest) -> None:
    """On stderr; a later version's outcome is shown."""
    others = [
        b"{",
        b"\xff",
        None,
        b'{"id": 1}',
        b'{"id": "1", "type": "x", "data": {"status": "a"}}',
    ]
    records = [(b"k", outcome(1, "a")), *((b"k", other) for other in others)]
    await write(system, system.outcomes, records)

    shown = run(system, "outcomes")
    assert shown.returncode == 0
    assert shown.stdout.count(b"\n") == 1
    told = f"Records of {system.outcomes} that are not shown: 3 not JSON, 2 not outcomes"
    assert told.encode() in shown.stderr


HOSTILE = "\\[/x] [red]no[/red] :x: \x1b[2J\n\u202e\x9b0m"


async def test_foreign_text_in_outcomes_is_text(system: SystemUnderTest) -> None:
    """One line, no escape sequence, no markup, no emoji; the JSON means the same."""
    value = outcome(1, "a", HOSTILE)
    await write(system, system.outcomes, [(b"packshots/a", value)])

    line = run(system, "outcomes").stdout.decode()
    assert r"\[/x] [red]no[/red] :x: \x1b[2J\n\u202e\x9b0m" in line
    assert line.removesuffix("\n").isprintable()
    as_json = run(system, "outcomes", "--json").stdout.decode()
    assert as_json.removesuffix("\n").isprintable()
    assert json.loads(as_json) == json.loads(value)


async def test_outcomes_ends_with_its_reader(system: SystemUnderTest) -> None:
    """`outcomes --follow | head`: silence and 0, even when nothing more comes."""
    await write(system, system.outcomes, [(b"packshots/a", outcome(1, "a"))])
    with start_command(system, "outcomes", "--follow") as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert b"packshots/a" in await asyncio.to_thread(following.stdout.readline)
        following.stdout.close()

        assert await asyncio.to_thread(following.wait, 30) == 0
        assert following.stderr.read() == b""


async def test_convert_sends_nothing(system: SystemUnderTest, file: Path) -> None:
    """What each line would do; exit 1 where one is bad."""
    shown = run(system, "convert", str(file))
    lines = [json.loads(line) for line in shown.stdout.splitlines()]

    assert shown.returncode == 1
    assert [line.get("action", line.get("status")) for line in lines] == [
        "upsert", "delete", "upsert", "rejected",
    ]  # fmt: skip
    assert lines[0]["values"] == {"n": [{"locale": None, "channel": None, "data": "1"}]}
    assert system.pim.writes == 0


async def test_convert_reads_standard_input(system: SystemUnderTest) -> None:
    """And exits 0 where all is well."""
    assert run(system, "convert", "-", given=json.dumps(LINES[0]).encode()).returncode == 0


async def test_a_broker_that_is_away(system: SystemUnderTest, file: Path) -> None:
    """A sentence, exit 1, no traceback."""
    for words in (("publish", "--force", str(file)), ("outcomes",), ("dead-letters", "list")):
        failed = run(system, *words, KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:9")
        assert failed.returncode == 1
        assert b"127.0.0.1:9" in failed.stderr
        assert b"Traceback" not in failed.stderr


async def test_a_topic_that_is_missing(system: SystemUnderTest) -> None:
    """Likewise."""
    failed = run(system, "outcomes", KAFKA__OUTCOMES_TOPIC="nowhere")
    assert failed.returncode == 1
    assert b"nowhere" in failed.stderr
    assert b"Traceback" not in failed.stderr


@pytest.mark.parametrize("what", ["events", "outcomes", "asyncapi"])
async def test_schemas_are_json(system: SystemUnderTest, what: str) -> None:
    """For tools."""
    assert json.loads(run(system, "schema", what).stdout)


async def test_the_settings_reference(system: SystemUnderTest) -> None:
    """Every variable with its default; secrets have none."""
    shown = run(system, "schema", "settings").stdout.decode()
    assert "ASSET_SYNC_PIM__BASE_URL" in shown
    assert "ASSET_SYNC_WINDOW__MAX_ASSETS" in shown


async def test_help(system: SystemUnderTest) -> None:
    """A line for each command, and more about one."""
    assert "pim-simulator" in run(system, "--help").stdout.decode()
    assert run(system, "run", "-h").stdout.startswith(b"Usage: ")


async def test_wrong_settings_of_kafka(system: SystemUnderTest, file: Path) -> None:
    """Exit 2 and the variable's name."""
    failed = run(system, "publish", str(file), KAFKA__SECURITY_PROTOCOL="TLS")
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
    system: SystemUnderTest, words: tuple[str, str], said: bytes
) -> None:
    """Exit 2 and a sentence."""
    (system.folder / "bad.json").write_text("{nothing")
    failed = run(system, "pim-simulator", "--port", "0", *words)
    assert failed.returncode == 2
    assert said in failed.stderr
    assert b"Traceback" not in failed.stderr


async def test_check_finds_all_well(system: SystemUnderTest) -> None:
    """Kafka, the PIM, the rights: a line each, exit 0."""
    shown = await aside(system, "check", DRAIN__MAX_SECONDS="75")
    text = shown.stdout.decode()
    assert shown.returncode == 0, text
    for words in (
        f"Topic {system.events} (3 partitions): access granted.",
        "offset.metadata.max.bytes is 4096.",
        "no committed offset yet",
        "has no member now",
        f"Transactional IDs {system.group}.* are allowed.",
        "accepts the credentials",
        "the permission to delete assets",
        "the permission to create and update assets",
        "edition EE",
        "The clocks here and in the PIM agree",
    ):
        assert words in text
    assert system.pim.state == {}


@pytest.mark.parametrize(
    ("settings", "said", "remedy"),
    [
        ({"KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9"}, "failed  Kafka at", "BOOTSTRAP_SERVERS"),
        (
            {"KAFKA__OUTCOMES_TOPIC": "nowhere"},
            "Topic nowhere does not exist",
            "asset-sync topics create",
        ),
        ({"PIM__PASSWORD": "wrong"}, "The PIM refuses the credentials", "PIM__CLIENT_ID"),
        ({"PIM__BASE_URL": "http://127.0.0.1:9"}, "The connection failed", "PIM__BASE_URL"),
    ],
)
async def test_check_names_what_fails_and_the_remedy(
    system: SystemUnderTest, settings: dict[str, str], said: str, remedy: str
) -> None:
    """Exit 1, no traceback."""
    shown = await aside(system, "check", **settings)
    text = " ".join(shown.stdout.decode().split())
    assert shown.returncode == 1
    assert " ".join(said.split()) in text
    assert remedy in text
    assert shown.stderr == b""


async def test_check_finds_a_missing_right_and_a_foreign_group(system: SystemUnderTest) -> None:
    """403 on DELETE alone; another service's positions."""
    system.pim.rights.discard("delete")
    await system.commit({TopicPartition(system.events, 0): OffsetAndMetadata(3, "somebody's")})
    shown = await aside(system, "check")
    text = shown.stdout.decode()
    assert shown.returncode == 1
    assert "The connection has no permission to delete assets." in text
    assert "is not asset-sync's" in text


SOURCES = """\
version: 1
hosts: {dam: {base: "http://127.0.0.1:9", allow_private: true, auth: {bearer: dam_token}}}
sources:
  dam:
    topics: [dam.raw]
    family: {const: packshots}
    code: id
    values: {nosuch: title}
    webhook: {path: /dam, verify: {token: {header: X-Token, secret: hook_token}}}
    rules: [{do: upsert}]
    tests: [{name: a, record: {value: {id: a}}, expect: [{upsert: packshots/EXPECTED}]}]
"""


async def test_check_looks_at_the_sources_file(system: SystemUnderTest) -> None:
    """Its tests, the names that the PIM lacks, its secrets and its hosts; a line each."""
    path = system.folder / "sources.yaml"
    path.write_text(SOURCES.replace("EXPECTED", "a"))
    shown = await aside(system, "check", SOURCES_FILE=str(path))
    text = " ".join(shown.stdout.decode().split())

    assert shown.returncode == 1
    assert f"The sources file {path}: 1 source, 1 test: all pass." in text
    assert "warning The secret hook_token is missing" in text
    assert "sources.yaml line 8: the family packshots has no attribute nosuch." in text
    assert "failed The host dam cannot be asked: The secret dam_token is missing" in text

    path.write_text(SOURCES)
    shown = await aside(system, "check", SOURCES_FILE=str(path))
    text = " ".join(shown.stdout.decode().split())
    assert f"failed {path}:11:13: the test `a` fails: change 1: expected upsert" in text
    assert f"`asset-sync mapping test {path}` checks it alone." in text


async def test_check_refuses_wrong_settings(system: SystemUnderTest) -> None:
    """Exit 2."""
    assert (await aside(system, "check", WINDOW__MAX_ASSETS="1000")).returncode == 2
