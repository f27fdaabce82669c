"""`asset-sync ingress` as a process, on a real broker: nothing answered with 200 is lost."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
import trustme

from service.adapters.http.webhook_connection import REQUEST_SECONDS_MAX
from service.apps import ingress as program
from service.apps.ingress import Service
from service.playground.embedded_kafka import EmbeddedKafka
from service.process.exit_codes import ExitCode
from service.process.shutdown import Shutdown
from service.settings import load
from tests.support.ingress import (
    IngressUnderTest,
    KnownKeys,
    Load,
    assert_nothing_is_lost,
    connections,
    headers_of,
    signed,
)
from tests.support.webhooks import (
    CERTIFICATE_URL,
    SUBSCRIBE_URL,
    private_key,
    public_pem,
    sns_message,
)
from tests.unit.adapters.test_served_certificate import shown as shown_certificate
from tests.unit.adapters.test_served_certificate import write as write_certificate

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

SENDERS = 40
OTHER_CERTIFICATE = CERTIFICATE_URL.replace("0123", "4567")


@pytest.fixture
async def ingress(bootstrap: str, tmp_path: Path) -> AsyncIterator[IngressUnderTest]:
    """Yield the topics of an ingress that is not started yet."""
    made = IngressUnderTest(bootstrap, tmp_path)
    await made.create_topics()
    yield made
    made.end()


@contextlib.asynccontextmanager
async def senders(url: str) -> AsyncIterator[Load]:
    """Send from many senders at once until the block ends."""
    load = Load(url=url)
    async with connections() as session:
        tasks = [asyncio.create_task(load.send_for_ever(session)) for _ in range(SENDERS)]
        yield load
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_accepted(load: Load, more: int, seconds: float = 60.0) -> None:
    """Wait until that many more events were answered with 200."""
    wanted = len(load.accepted) + more
    async with asyncio.timeout(seconds):
        while len(load.accepted) < wanted:  # noqa: ASYNC110 - the senders know no event
            await asyncio.sleep(0.05)


async def test_a_verified_request_is_a_record(ingress: IngressUnderTest) -> None:
    """Its bytes are those of the body, its key is the asset, and no signature is kept."""
    process = ingress.start()
    url = await ingress.url()
    body = b'{ "id": "a1",\n "colour": "\xc3\xa9" }'
    async with aiohttp.ClientSession() as session:
        headers = signed(body, **{"X-Topic": "asset.created", "ce-type": "t", "Cookie": "c=1"})
        async with session.post(url + "/hooks", data=body, headers=headers) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        wrong = {**headers, "x-signature": "sha256=" + "0" * 64}
        async with session.post(url + "/hooks", data=body, headers=wrong) as answer:
            assert (answer.status, await answer.read()) == (401, b"")
        async with session.get(url + "/metrics") as answer:
            assert answer.status == 404
        admin = await ingress.url("http.listening")
        async with session.get(admin + "/readyz") as answer:
            assert answer.status == 200
        async with session.get(admin + "/metrics") as answer:
            metrics = await answer.text()
        async with session.post(admin + "/release") as answer:
            assert answer.status == 404

    (record,) = await ingress.records(ingress.topic)
    found = headers_of(record)
    assert (record.key, record.value) == (b"a1", body)
    assert found.keys() == {
        "ingress.source", "ingress.received_at", "ingress.verified", "content-type", "ce_type",
        "x-topic",
    }  # fmt: skip
    assert (found["ingress.source"], found["ingress.verified"]) == (b"hooks", b"hmac")
    assert 'asset_sync_ingress_requests_total{answer="200",source="hooks"} 1.0' in metrics
    assert 'asset_sync_ingress_refused_total{source="hooks",why="mismatch"} 1.0' in metrics
    assert process.stop(20) == 0
    assert "a-shared-secret" not in ingress.logs()


async def test_nothing_is_lost_when_ingress_is_killed(ingress: IngressUnderTest) -> None:
    process = ingress.start()
    async with senders(await ingress.url()) as load:
        for _ in range(3):
            await until_accepted(load, 300)
            process.kill()
            process.wait()
            process = ingress.start()
            load.url = await ingress.url()
        await until_accepted(load, 300)
    await assert_nothing_is_lost(ingress, load)


@pytest.mark.xdist_group("broker of ingress")
@pytest.mark.parametrize("away_seconds", [1, 14, 35])
async def test_nothing_is_lost_when_the_broker_is_killed(
    own_broker: EmbeddedKafka, tmp_path: Path, away_seconds: float
) -> None:
    """Ingress answers 503 meanwhile, within its time, and goes on by itself."""
    ingress = IngressUnderTest(own_broker.bootstrap_servers, tmp_path)
    await ingress.create_topics()
    process = ingress.start()
    try:
        async with senders(await ingress.url()) as load:
            await until_accepted(load, 300)
            own_broker.kill()
            await asyncio.sleep(away_seconds)
            before = len(load.accepted)
            await asyncio.to_thread(own_broker.start)
            await until_accepted(load, 300)
        if away_seconds > 10:
            assert load.answers["503"] > 0
        assert load.retry_after.keys() <= {"5"}
        assert load.answers.keys() <= {"200", "503"}
        assert before < len(load.accepted)
        await assert_nothing_is_lost(ingress, load)
        assert process.stop(20) == 0, ingress.logs()
        assert "Traceback" not in ingress.logs()
    finally:
        ingress.end()


async def test_the_end_loses_nothing_and_resets_nobody(ingress: IngressUnderTest) -> None:
    """SIGTERM under load: open requests are answered; a second signal is not needed."""
    process = ingress.start()
    async with senders(await ingress.url()) as load:
        await until_accepted(load, 300)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
    await assert_nothing_is_lost(ingress, load)
    assert "Traceback" not in ingress.logs()


async def test_slow_senders_stop_nobody(ingress: IngressUnderTest) -> None:
    """Hundreds of heads and bodies that never end, beside normal senders."""
    ingress.start()
    url = await ingress.url()
    port = int(url.rpartition(":")[2])
    head = b"POST /hooks HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
    async with AsyncExitStack() as senders_that_never_end:
        for number in range(400):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            senders_that_never_end.callback(writer.close)
            writer.write(head + b"\r\n12" if number % 2 else head)
        async with senders(url) as load:
            await until_accepted(load, 2_000)
    assert load.answers.keys() == {"200"}
    waited = sorted(load.seconds)[int(len(load.seconds) * 0.99)]
    assert waited < REQUEST_SECONDS_MAX, "until the slow senders are cut off"


async def test_a_record_that_the_topic_refuses_is_never_acknowledged(
    bootstrap: str, tmp_path: Path
) -> None:
    """The topic takes smaller records than the settings say; the others are still accepted."""
    ingress = IngressUnderTest(bootstrap, tmp_path)
    await ingress.create_topics(**{"max.message.bytes": "20000"})
    ingress.start()
    try:
        url = await ingress.url() + "/hooks"
        large, small = b'{"id": "%s"}' % (b"x" * 50_000), b'{"id": "small"}'
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                async with session.post(url, data=large, headers=signed(large)) as answer:
                    assert answer.status == 503
                statuses = []
                for _ in range(5):
                    async with session.post(url, data=small, headers=signed(small)) as answer:
                        statuses.append(answer.status)
                    await asyncio.sleep(0.5)
                assert statuses[-1] == 200
        assert {record.value for record in await ingress.records(ingress.topic)} == {small}
        assert "max.message.bytes" in ingress.logs()
    finally:
        ingress.end()


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"SOURCES_FILE": "missing.yaml"}, 2, "missing.yaml cannot be read"),
        ({"SECRET__HOOK_SECRET": ""}, 2, "ASSET_SYNC_SECRET__HOOK_SECRET"),
        ({"INGRESS__TLS_CERT_FILE": "x.pem"}, 2, "TLS_CERT_FILE and TLS_KEY_FILE"),
        ({"INGRESS__MAX_BODY_BYTES": "2MiB"}, 2, "KAFKA__MAX_RECORD_BYTES"),
        ({"INGRESS__HOST": "192.0.2.1"}, 1, "Cannot listen on 192.0.2.1:0"),
        ({"INGRESS__HOST": "2001:db8::1"}, 1, "Cannot listen on [2001:db8::1]:0"),
    ],
)
async def test_a_wrong_start_is_explained(
    ingress: IngressUnderTest, settings: dict[str, str], code: int, message: str
) -> None:
    process = ingress.start(**settings)
    assert await asyncio.to_thread(process.wait, 60) == code
    assert message in ingress.logs()
    assert "Traceback" not in ingress.logs()


async def test_a_missing_topic_is_named(bootstrap: str, tmp_path: Path) -> None:
    ingress = IngressUnderTest(bootstrap, tmp_path)
    process = ingress.start()
    assert await asyncio.to_thread(process.wait, 60) == 1
    assert f"Topic {ingress.topic} does not exist" in ingress.logs()


async def test_a_sample_can_be_sent(ingress: IngressUnderTest) -> None:
    ingress.start()
    url = await ingress.url()
    sample = ingress.folder / "sample.json"
    sample.write_text('{"id": "a7"}')

    def send(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "service", "webhook", "send", str(sample), *words]
        environ = ingress.environ(**settings)
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - ours

    port = url.rpartition(":")[2]
    sent = await asyncio.to_thread(send, "--source", "hooks", INGRESS__PORT=port)
    assert (sent.returncode, ingress.topic in sent.stdout) == (0, True), sent.stderr
    (record,) = await ingress.records(ingress.topic)
    assert (record.key, record.value) == (b"a7", b'{"id": "a7"}')

    other = {"SECRET__HOOK_SECRET": "another", "INGRESS__PORT": port}
    refused = await asyncio.to_thread(send, "--source", "hooks", **other)
    assert (refused.returncode, "401" in refused.stderr) == (1, True)
    unsigned = await asyncio.to_thread(send, "--source", "sns")
    assert (unsigned.returncode, "mapping explain" in unsigned.stderr) == (1, True)
    unknown = await asyncio.to_thread(send, "--source", "none")
    assert (unknown.returncode, "hooks, sns" in unknown.stderr) == (2, True)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        free = str(unused.getsockname()[1])
    absent = await asyncio.to_thread(send, "--source", "hooks", INGRESS__PORT=free)
    assert (absent.returncode, "No asset-sync ingress answers" in absent.stderr) == (1, True)
    files = {"INGRESS__TLS_CERT_FILE": "tls.crt", "INGRESS__TLS_KEY_FILE": "tls.key"}
    https = await asyncio.to_thread(send, "--source", "hooks", INGRESS__PORT=port, **files)
    assert (https.returncode, "give --url https://" in https.stderr) == (2, True), https.stderr


@contextlib.asynccontextmanager
async def in_this_process(
    environ: dict[str, str], keys: KnownKeys, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[int]:
    """Run ingress with this environment and these keys, and yield its port."""
    for name, value in environ.items():
        if name.startswith("ASSET_SYNC_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr("service.process.shutdown.exit_at_once", lambda _: None)
    shutdown = Shutdown()
    service = Service(load(needs_pim=False), shutdown, lambda _: keys)
    running = asyncio.create_task(service.run())
    try:
        async with asyncio.timeout(60):
            while not service.port:  # noqa: ASYNC110 - it says so in its log alone
                await asyncio.sleep(0.1)
        yield service.port
    finally:
        shutdown.request()
        assert await running == ExitCode.DRAINED


async def test_a_renewed_certificate_is_shown(
    ingress: IngressUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a restart, before the old one expires."""
    monkeypatch.setattr(program, "RENEW_SECONDS", 0.1)
    ca = trustme.CA()
    write_certificate(ca, tmp_path)
    files = {
        "INGRESS__TLS_CERT_FILE": str(tmp_path / "tls.crt"),
        "INGRESS__TLS_KEY_FILE": str(tmp_path / "tls.key"),
    }
    async with in_this_process(ingress.environ(**files), KnownKeys({}), monkeypatch) as port:
        (tmp_path / "tls.crt").write_text("a half")
        await asyncio.sleep(0.5)
        renewed = write_certificate(ca, tmp_path)
        async with asyncio.timeout(30):
            while await shown_certificate(ca, port) != renewed:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)


async def test_messages_of_sns_are_keyed_by_the_asset(
    ingress: IngressUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, with a key of the test in the place of Amazon's."""
    keys = KnownKeys({CERTIFICATE_URL: public_pem(private_key())})
    async with in_this_process(ingress.environ(), keys, monkeypatch) as port:
        url = f"http://127.0.0.1:{port}/sns"
        now = datetime.now(UTC).isoformat()
        message = '{"media_id": "0AB2-1"}'
        async with aiohttp.ClientSession() as session:
            for members, status in (
                ({"Type": "SubscriptionConfirmation"}, 200),
                ({"Message": message}, 200),
                ({"Message": message, "Signature": "AAAA"}, 401),
                ({"Message": message, "TopicArn": "arn:other"}, 401),
                ({"Message": message, "SigningCertURL": CERTIFICATE_URL + "2"}, 401),
                ({"Message": message, "SigningCertURL": OTHER_CERTIFICATE}, 503),
            ):
                body = sns_message(private_key(), **{"Timestamp": now, **members})
                async with session.post(url, data=body) as answer:
                    assert answer.status == status, members
    assert keys.confirmed == [SUBSCRIBE_URL]
    (record,) = await ingress.records(ingress.sns_topic)
    assert record.key == b"0AB2-1"
    assert headers_of(record)["ingress.verified"] == b"sns"
