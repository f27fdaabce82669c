"""A broker with users, permissions and TLS: the service needs those of contract.md §5."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme
from aiohttp import ClientSession
from aiokafka.admin import NewTopic

from service.playground.local_system import address, create_topics
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support.proof import assert_exactly_once, events
from tests.support.secured import (
    GROUP,
    PASSWORD,
    PREFIXED,
    READ,
    TOPIC,
    TRANSACTIONAL_ID,
    WRITE,
    Permission,
    SecuredKafka,
    permissions,
    secured_kafka,
)
from tests.support.service import SystemUnderTest, aside, system_around

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.brokers,
    pytest.mark.processes,
    pytest.mark.xdist_group("secured"),  # one worker runs them all, on one broker
]


LACKING = {
    "read events": r"The Kafka user may not read topic events\.\S+: grant Read on it\.",
    "write outcomes": r"The Kafka user may not write topic outcomes\.\S+: grant Write on it\.",
    "write dead letters": r"The Kafka user may not write topic dead\.\S+: grant Write on it\.",
    "read group": r"The Kafka user may not join the group group\.\S+: grant Read on this group\.",
    "write transactional id": r"may not use a transactional id: grant Write and Describe",
}
"""The message for each missing permission; Read and Write imply Describe."""

SOURCES = """
version: 1
sources:
  bucket:
    topics: [raw.{suffix}]
    family: {{const: packshots}}
    code: id
    values: {{label: title}}
    rules: [{{do: upsert}}]
    webhook: {{path: /bucket, verify: {{none: I trust the network}}}}
"""


def permissions_of_translate(system: SystemUnderTest) -> list[Permission]:
    """Return the permissions of docs/contract.md, The second program."""
    prefix = f"{system.group}.translate."
    return [
        Permission(TOPIC, f"raw.{system.suffix}", READ),
        Permission(TOPIC, system.events, WRITE),
        Permission(TOPIC, system.outcomes, WRITE),
        Permission(TOPIC, system.dead_letters, WRITE),
        Permission(GROUP, prefix, READ, PREFIXED),
        Permission(TRANSACTIONAL_ID, prefix, WRITE, PREFIXED),
    ]


PROGRAMS_LACK = (
    r"translate: Topic raw\.\S+ is hidden from the Kafka user: grant Read on it\. ",
    r"translate: Topic events\.\S+ is hidden from the Kafka user: grant Write on it\. ",
    r"translate: Group \S+\.bucket: The Kafka user may not join the group \S+\.translate\.bucket: ",
    r"translate: Transactional IDs \S+\.translate\.\* are refused: The Kafka user may not use a ",
    r"ingress: Topic raw\.\S+ is hidden from the Kafka user: grant Write on it\. ",
    r"ingress: An idempotent producer is refused: ",
)
"""What `check` says of each permission that translate and ingress lack."""

USERS = (
    "everything",
    "nothing",
    "translate",
    "ingress",
    *(name.replace(" ", "-") for name in LACKING),
)


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredKafka]:
    """A broker with a user for each case."""
    with secured_kafka(USERS) as running:
        yield running


@pytest.fixture
async def system(secured: SecuredKafka, tmp_path: Path) -> AsyncIterator[SystemUnderTest]:
    """The system around the broker, to which the tests themselves connect as administrator."""
    pim = PimSimulator(free("packshots", "manuals"))
    async with system_around(secured.bootstrap_servers, tmp_path, pim) as made:
        yield made


def as_user(secured: SecuredKafka, user: str, mechanism: str = "SCRAM-SHA-256") -> dict[str, str]:
    """Settings of a replica with this user."""
    return {
        "KAFKA__BOOTSTRAP_SERVERS": secured.scram,
        "KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA__SASL_MECHANISM": mechanism,
        "KAFKA__SASL_USERNAME": user,
        "KAFKA__SASL_PASSWORD": PASSWORD,
    }


def over_tls(secured: SecuredKafka, user: str = "everything") -> dict[str, str]:
    """Settings of a replica with this user over TLS, with the private CA."""
    return as_user(secured, user, "SCRAM-SHA-512") | {
        "KAFKA__BOOTSTRAP_SERVERS": secured.tls,
        "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA__SSL_CA_FILE": str(secured.ca_file),
    }


def by_certificate(secured: SecuredKafka, folder: Path) -> dict[str, str]:
    """Settings of a replica with a client certificate and the password of its key."""
    path = str(secured.certificate_of("everything", folder))
    return {
        "KAFKA__BOOTSTRAP_SERVERS": secured.mutual,
        "KAFKA__SECURITY_PROTOCOL": "SSL",
        "KAFKA__SSL_CA_FILE": str(secured.ca_file),
        "KAFKA__SSL_CERT_FILE": path,
        "KAFKA__SSL_KEY_FILE": path,
        "KAFKA__SSL_KEY_PASSWORD": PASSWORD,
    }


@pytest.mark.parametrize("way", ["SCRAM-SHA-256", "SCRAM-SHA-512", "TLS", "certificate"])
async def test_the_main_job_needs_these_permissions_and_no_more(
    system: SystemUnderTest, secured: SecuredKafka, way: str
) -> None:
    """They suffice for upserts, deletes, dead letters, two replicas and SIGTERM."""
    await secured.grant("everything", permissions(system).values())
    match way:
        case "TLS":
            settings = over_tls(secured)
        case "certificate":
            settings = by_certificate(secured, system.folder)
        case _:
            settings = as_user(secured, "everything", way)
    records = events(600, 60, system.partitions)
    replicas = [system.start(**settings), system.start(**settings)]
    await system.publish(records)
    await assert_exactly_once(system, len(records))
    for replica in replicas:
        replica.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(replica.wait, 30) == 0, system.logs()
    assert PASSWORD not in system.logs()


@pytest.mark.parametrize("permission", LACKING)
async def test_a_missing_permission_is_named(
    system: SystemUnderTest, secured: SecuredKafka, permission: str
) -> None:
    """The service ends with a sentence that says what to grant; `check` prints the same."""
    user = permission.replace(" ", "-")
    await secured.grant(
        user, (one for name, one in permissions(system).items() if name != permission)
    )
    replica = system.start(**as_user(secured, user))
    assert await asyncio.to_thread(replica.wait, 40) == 1, system.logs()
    assert re.search(LACKING[permission], system.logs()), system.logs()
    assert "Traceback" not in system.logs()

    checked = await aside(system, "check", **as_user(secured, user))
    assert checked.returncode == 1
    said = " ".join(checked.stdout.decode().split())
    assert re.search(LACKING[permission], said), said


@pytest.mark.parametrize("permission", ["write outcomes", "write dead letters", "read group"])
async def test_a_permission_that_is_taken_away_at_work(
    system: SystemUnderTest, secured: SecuredKafka, permission: str
) -> None:
    """The service ends and says why, and continues after a new grant: one outcome per event."""
    given = permissions(system)
    await secured.grant("everything", given.values())
    settings = as_user(secured, "everything")
    records = events(300, 60, system.partitions)
    await system.publish(records)
    replica = system.start(**settings)
    await system.outcome_data(300)
    await secured.revoke("everything", given[permission])
    await system.publish(records)
    assert await asyncio.to_thread(replica.wait, 60) == 1, system.logs()
    assert "The Kafka user may not" in system.logs(), system.logs()
    assert "Traceback" not in system.logs()

    await secured.grant("everything", [given[permission]])
    system.start(**settings)
    await assert_exactly_once(system, 2 * len(records))


async def test_a_wrong_password(system: SystemUnderTest, secured: SecuredKafka) -> None:
    """The error comes at once, without the password."""
    wrong = as_user(secured, "everything") | {"KAFKA__SASL_PASSWORD": "wrong"}
    shown = await aside(system, "run", **wrong)
    assert shown.returncode == 1
    assert b"Kafka refuses the login of user everything" in shown.stderr, shown
    assert b"wrong" not in shown.stdout + shown.stderr
    assert b"Kafka refuses the login of user" in (await aside(system, "outcomes", **wrong)).stderr


async def test_a_certificate_that_is_not_trusted(
    system: SystemUnderTest, secured: SecuredKafka
) -> None:
    """The error comes at once, and names the setting to fix."""
    untrusted = over_tls(secured)
    del untrusted["KAFKA__SSL_CA_FILE"]
    for command in ("run", "check"):
        shown = await aside(system, command, **untrusted)
        assert shown.returncode == 1
        said = b" ".join((shown.stdout + shown.stderr).split())
        assert b"Kafka's certificate is not trusted" in said, shown
        assert b"SSL_CA_FILE" in said


async def test_a_certificate_that_is_missing_or_a_stranger_s(
    system: SystemUnderTest, secured: SecuredKafka
) -> None:
    """The error comes at once, and names the setting to fix."""
    full = by_certificate(secured, system.folder)
    bare = {name: full[name] for name in full if not re.search("CERT|KEY", name)}
    path = str(secured.certificate_of("stranger", system.folder, trustme.CA()))
    strange = full | {"KAFKA__SSL_CERT_FILE": path, "KAFKA__SSL_KEY_FILE": path}
    for settings, complaint in (
        (bare, "Kafka requires a client certificate: set ASSET_SYNC_KAFKA__SSL_CERT_FILE"),
        (strange, "Kafka does not accept the client certificate: check"),
    ):
        for command in ("run", "check"):
            shown = await aside(system, command, **settings)
            assert shown.returncode == 1
            said = " ".join((shown.stdout + shown.stderr).decode().split())
            assert complaint in said, shown


async def test_a_key_with_another_password(system: SystemUnderTest, secured: SecuredKafka) -> None:
    """The exit code is 2, and OpenSSL does not ask for a password."""
    wrong = by_certificate(secured, system.folder) | {"KAFKA__SSL_KEY_PASSWORD": "wrong"}
    shown = await aside(system, "run", **wrong)
    assert shown.returncode == 2, shown
    assert b"ASSET_SYNC_KAFKA__SSL_KEY_FILE" in shown.stderr, shown
    assert b"Traceback" not in shown.stderr, shown


async def test_files_that_cannot_be_used(system: SystemUnderTest, secured: SecuredKafka) -> None:
    """The exit code is 2, and the error names the setting."""
    (system.folder / "garbage.pem").write_text("no certificate")
    for path, said in (("/nowhere/ca.pem", "cannot be read"), ("garbage.pem", "cannot be used")):
        for command in (["run"], ["check"], ["outcomes"]):
            wrong = over_tls(secured) | {"KAFKA__SSL_CA_FILE": path}
            shown = await aside(system, *command, **wrong)
            assert shown.returncode == 2, shown
            assert f"ASSET_SYNC_KAFKA__SSL_CA_FILE: {path} {said}".encode() in shown.stderr, shown


async def test_who_may_nothing(system: SystemUnderTest, secured: SecuredKafka) -> None:
    """The error names every topic."""
    shown = await aside(system, "run", **as_user(secured, "nothing"))
    assert shown.returncode == 1
    for topic in (system.events, system.outcomes, system.dead_letters):
        assert f"Topic {topic} is hidden from the Kafka user".encode() in shown.stderr


async def with_a_source(system: SystemUnderTest) -> dict[str, str]:
    """Create the topic of a source, write its file, and return the settings that name it."""
    await create_topics(system.bootstrap, [NewTopic(f"raw.{system.suffix}", system.partitions, 1)])
    file = system.folder / "sources.yaml"
    file.write_text(SOURCES.format(suffix=system.suffix))
    return {"SOURCES_FILE": str(file)}


async def test_translate_and_ingress_need_these_permissions_and_no_more(
    system: SystemUnderTest, secured: SecuredKafka
) -> None:
    """A webhook becomes a change, each program has a user of its own, and `check` is content."""
    source = await with_a_source(system)
    raw = Permission(TOPIC, f"raw.{system.suffix}", WRITE)
    await secured.grant("translate", permissions_of_translate(system))
    await secured.grant("ingress", [raw])
    system.start_program("translate", **source, **as_user(secured, "translate"))
    system.start_program("ingress", **source, **as_user(secured, "ingress"), INGRESS__PORT="0")
    url = await address(system.replicas[1], "webhooks.listening")
    async with ClientSession() as session:
        assert (await session.post(f"{url}/bucket", data=b'{"id": "a"}')).status == 200

    [change] = await system.read(system.events, 1)
    assert change[0] == b"packshots/a"
    for replica in system.replicas:
        assert await asyncio.to_thread(replica.stop, 30) == 0, system.logs()

    await secured.grant("everything", [*permissions(system).values(), raw])
    await secured.grant("everything", permissions_of_translate(system))
    shown = await aside(system, "check", **source, **as_user(secured, "everything"))
    lines = shown.stdout.decode().splitlines()
    ours = [line for line in lines if "translate: " in line or "ingress: " in line]
    assert len(ours) == len(PROGRAMS_LACK) + 1, "the members of the group are told as well"
    assert all(line.startswith("ok") for line in ours), ours


async def test_check_names_what_translate_and_ingress_lack(
    system: SystemUnderTest, secured: SecuredKafka
) -> None:
    """A warning for each permission, because they may log in as other users than `run`."""
    source = await with_a_source(system)
    shown = await aside(system, "check", **source, **as_user(secured, "nothing"))
    said = " ".join(shown.stdout.decode().split())
    for lack in PROGRAMS_LACK:
        assert re.search(f"warning {lack}.*?If `asset-sync (translate|ingress)` logs in as", said)
