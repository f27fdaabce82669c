"""Brokers with quotas, as managed clusters have them: everything takes longer, nothing stops."""

import pytest

from tests.support.proof import upsert
from tests.support.quotas import limit_client
from tests.support.service import SystemUnderTest

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

EVENTS = 2_000


@pytest.mark.parametrize("quota", ["producer_byte_rate", "consumer_byte_rate"])
async def test_a_quota_delays_and_stops_nothing(system: SystemUnderTest, quota: str) -> None:
    """The first large transaction takes longer than the broker lets it live."""
    client_id = f"slow.{system.suffix}"
    await limit_client(system.bootstrap, client_id, quota, 50_000)
    values: dict[str, object] = {"text": "a photographer of some fame" * 10}
    await system.publish(
        [
            (number % 3, b"packshots/a%d" % number, upsert("packshots", f"a{number}", values))
            for number in range(EVENTS)
        ]
    )
    replica = system.start(KAFKA__CLIENT_ID=client_id)
    outcomes = await system.outcome_data(EVENTS, 200)

    assert replica.poll() is None, system.logs()[-3000:]
    origins = {tuple(one["data"]["origin"].items()) for one in outcomes}
    assert len(origins) == len(outcomes) == EVENTS, system.logs()[-3000:]
