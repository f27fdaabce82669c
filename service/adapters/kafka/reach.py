"""Does Kafka answer now? Asked over a connection of its own, while nothing else is heard."""

import asyncio
import time
from collections.abc import Callable

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError

from service.adapters.kafka.errors import describe, is_final
from service.adapters.kafka.options import connection
from service.core.facts import Fact, KafkaReachable, KafkaUnreachable
from service.ports import FatalError
from service.settings import KafkaSettings, SettingsError

ANSWER_SECONDS_MAX = 5.0
LOOK_SECONDS = 2.0
QUIET_SHARE = 0.3
"""Of the session timeout: three heartbeats that nobody answered."""


async def refusal(kafka: KafkaSettings) -> Exception | None:
    """Why Kafka does not answer; None where it names the coordinator of the group."""
    try:
        client = AIOKafkaClient(
            **connection(kafka), request_timeout_ms=round(ANSWER_SECONDS_MAX * 1000)
        )
    except SettingsError as error:  # a certificate that is being replaced
        return error
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await client.bootstrap()
            await client.coordinator_lookup(CoordinationType.GROUP, kafka.group_id)
    except (KafkaError, OSError, TimeoutError) as error:
        return error
    finally:
        await client.close()
    return None


class ContactWatch:
    """Tells a Kafka that is away, which is waited for, from one that does not take us back."""

    def __init__(
        self, kafka: KafkaSettings, silence_seconds_max: float, note: Callable[[Fact], None]
    ) -> None:
        self._kafka = kafka
        self._silence_seconds_max = silence_seconds_max
        self._note = note
        self._quiet_seconds = QUIET_SHARE * kafka.session_timeout_seconds
        self._look_at = 0.0
        self._there_since: float | None = None
        """Since when Kafka answers, although no heartbeat is acknowledged."""
        self._away: str | None = None

    @property
    def is_away(self) -> bool:
        """Whether Kafka gave no answer when it was asked last."""
        return self._away is not None

    def lines(self) -> list[str]:
        """That Kafka is away, for a person."""
        return [] if self._away is None else [f"[-]{self._away}"]

    async def look(self, acknowledged_at: float) -> None:
        """Ask Kafka where the group has been silent since then (monotonic).

        Raises:
            FatalError: Kafka refuses us, or answers for long while the group does not.
        """
        now = time.monotonic()
        if now - acknowledged_at < self._quiet_seconds:
            self._there_since = None
            self._is_there()
        elif now >= self._look_at:
            error = await refusal(self._kafka)
            self._look_at = time.monotonic() + LOOK_SECONDS
            if error is None:
                self._is_there()
                self._require_patience(acknowledged_at)
            else:
                self._is_not_there(error)

    def _is_there(self) -> None:
        if self._away is not None:
            self._away = None
            self._note(KafkaReachable(self._kafka.bootstrap_servers))

    def _is_not_there(self, error: Exception) -> None:
        words = describe(error, self._kafka)
        if is_final(error):
            raise FatalError(words)
        self._there_since = None
        servers = self._kafka.bootstrap_servers
        if self._away is None:
            self._note(KafkaUnreachable(servers, words))
        self._away = f"Kafka at {servers} does not answer: {words}"

    def _require_patience(self, acknowledged_at: float) -> None:
        now = time.monotonic()
        if self._there_since is None:
            self._there_since = now
        if now - max(self._there_since, acknowledged_at) > self._silence_seconds_max:
            raise FatalError(
                f"Lost contact with Kafka at {self._kafka.bootstrap_servers}: no heartbeat was "
                f"answered for {now - acknowledged_at:.0f} s, although Kafka is there."
            )
