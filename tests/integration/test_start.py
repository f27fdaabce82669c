"""The errors that an operator sees when the service cannot start."""

import asyncio
import signal

import pytest

from tests.support.service import SystemUnderTest

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


async def test_a_missing_topic_is_named(system: SystemUnderTest) -> None:
    """The exit code is 1, and the log has a plain sentence without traceback."""
    replica = system.start(KAFKA__OUTCOMES_TOPIC="nowhere")

    assert await asyncio.to_thread(replica.wait, 30) == 1
    assert "Topic nowhere does not exist" in system.logs()
    assert "Traceback" not in system.logs()


async def test_wrong_settings_end_with_two(system: SystemUnderTest) -> None:
    """The exit code is 2, and the error names the variable."""
    replica = system.start(WINDOW__MAX_ASSETS="1000")

    assert await asyncio.to_thread(replica.wait, 30) == 2
    assert "ASSET_SYNC_WINDOW__MAX_ASSETS" in system.logs()


@pytest.mark.parametrize("settings", [{"HTTP__PORT": "taken"}, {"HTTP__HOST": "nowhere.invalid"}])
async def test_a_port_that_cannot_be_had(system: SystemUnderTest, settings: dict[str, str]) -> None:
    """The exit code is 1, and the error names the settings to change."""
    taken = system.pim_url.rpartition(":")[2]
    replica = system.start(
        **{name: text.replace("taken", taken) for name, text in settings.items()}
    )

    assert await asyncio.to_thread(replica.wait, 30) == 1
    assert "Cannot listen on " in system.logs()
    assert "ASSET_SYNC_HTTP__PORT" in system.logs()
    assert "Traceback" not in system.logs()


async def test_a_stop_while_waiting_for_the_broker_is_heard(system: SystemUnderTest) -> None:
    """SIGTERM during the start ends the service at once."""
    replica = system.start(KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    await system.until_logged("kafka.connecting")
    replica.send_signal(signal.SIGTERM)

    assert await asyncio.to_thread(replica.wait, 10) == 0


async def test_wrong_credentials_are_said_and_cost_nothing(system: SystemUnderTest) -> None:
    """The service runs and waits; no change fails."""
    await system.publish([(0, b"packshots/a", None)])
    replica = system.start(PIM__PASSWORD="wrong")
    await system.until_logged("The PIM refuses the credentials")

    assert await system.outcome_data(1, seconds=3) == []
    assert replica.poll() is None
