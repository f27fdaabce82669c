"""A broker whose users log in with tokens of OAuth 2.0."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support.proof import assert_exactly_once, events
from tests.support.secured import SESSION_SECONDS, SecuredKafka, permissions, secured_kafka
from tests.support.service import SystemUnderTest, aside, system_around
from tests.support.token_server import CLIENT_SECRET, TokenServer, token_server

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.brokers,
    pytest.mark.processes,
    pytest.mark.xdist_group("oauth"),
]


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredKafka]:
    """A broker that ends each session after some seconds."""
    with secured_kafka([]) as running:
        yield running


@pytest.fixture
async def system(secured: SecuredKafka, tmp_path: Path) -> AsyncIterator[SystemUnderTest]:
    """The system around the broker, to which the tests themselves connect as administrator."""
    pim = PimSimulator(free("packshots", "manuals"))
    async with system_around(secured.bootstrap_servers, tmp_path, pim) as made:
        await secured.grant("client", permissions(made).values())
        yield made


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    """Yield a token URL."""
    async with token_server() as made:
        yield made


def with_tokens(secured: SecuredKafka, server: TokenServer) -> dict[str, str]:
    """Settings of a replica that logs in with tokens."""
    return {
        "KAFKA__BOOTSTRAP_SERVERS": secured.tokens,
        "KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA__SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA__SASL_USERNAME": "client",
        "KAFKA__SASL_PASSWORD": CLIENT_SECRET,
        "KAFKA__SASL_TOKEN_URL": server.url,
        "KAFKA__SASL_EXTENSIONS": "logicalCluster=lkc-1,identityPoolId=pool-2",
    }


async def test_the_main_job_while_sessions_end_and_tokens_expire(
    system: SystemUnderTest, secured: SecuredKafka, server: TokenServer
) -> None:
    """Each session ends within seconds; meanwhile the token URL is out for one session."""
    server.lifetime_seconds = server.expires_in = 2 * SESSION_SECONDS
    replica = system.start(**with_tokens(secured, server))
    sent = 0
    for second in range(5 * SESSION_SECONDS):
        server.status = 503 if 2 <= second / SESSION_SECONDS < 3 else 200
        records = events(40, 40, system.partitions)
        await system.publish(records)
        sent += len(records)
        await asyncio.sleep(1)
    await assert_exactly_once(system, sent)
    assert len(server.forms) > 3
    assert replica.poll() is None, system.logs()
    replica.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(replica.wait, 30) == 0, system.logs()
    assert CLIENT_SECRET not in system.logs()
    assert "Traceback" not in system.logs()


async def test_a_refused_client_and_a_refused_token(
    system: SystemUnderTest, secured: SecuredKafka, server: TokenServer
) -> None:
    """The error comes at once, and says who refuses what."""
    settings = with_tokens(secured, server)
    wrong = await aside(system, "run", **settings | {"KAFKA__SASL_PASSWORD": "wrong"})
    server.broken = True
    refused = await aside(system, "run", **settings)
    checked = await aside(system, "check", **settings)

    assert b"KAFKA__SASL_TOKEN_URL refuses the client client (HTTP 401" in wrong.stderr, wrong
    assert b"Kafka refuses the token of client client" in refused.stderr, refused
    assert b"Kafka refuses the token of client client" in b" ".join(checked.stdout.split()), checked
    assert [wrong.returncode, refused.returncode, checked.returncode] == [1, 1, 1]
