"""Watch whether Kafka can be reached, over a connection of its own."""

import asyncio
from collections.abc import Callable

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError

from service.adapters.kafka.errors import describe, is_final
from service.adapters.kafka.options import connection
from service.core.facts import Fact, KafkaReachable, KafkaUnreachable
from service.ports import FatalError, clock_seconds
from service.settings import KafkaSettings, SettingsError

ANSWER_SECONDS_MAX = 5.0
CHECK_SECONDS = 2.0
QUIET_SHARE = 0.3
"""The share of the session timeout without an acknowledged heartbeat, after which Kafka is asked.

Three heartbeats are sent in this time.
"""


async def connection_error(kafka: KafkaSettings) -> Exception | None:
    """Return why Kafka does not answer, or None if it names the coordinator of the group."""
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
    """Tells an unreachable Kafka, which is waited for, from a group that does not answer.

    While Kafka is unreachable, a restart would not help. If Kafka answers and the group does not
    acknowledge heartbeats, the consumer is stuck and the process has to end.
    """

    def __init__(
        self, kafka: KafkaSettings, silence_seconds_max: float, note: Callable[[Fact], None]
    ) -> None:
        self._kafka = kafka
        self._silence_seconds_max = silence_seconds_max
        self._note = note
        self._quiet_seconds = QUIET_SHARE * kafka.session_timeout_seconds
        self._next_check_at = 0.0
        self._reachable_since: float | None = None
        """Since when Kafka answers, although no heartbeat is acknowledged (monotonic)."""
        self._problem: str | None = None
        """Why Kafka was unreachable at the last check."""

    @property
    def is_unreachable(self) -> bool:
        """Whether Kafka did not answer at the last check."""
        return self._problem is not None

    def lines(self) -> list[str]:
        """Return the line of /livez and /readyz about an unreachable Kafka."""
        return [] if self._problem is None else [f"[-]{self._problem}"]

    async def check(self, acknowledged_at: float) -> None:
        """Ask Kafka, if no heartbeat has been acknowledged for some time.

        Args:
            acknowledged_at: send time of the last acknowledged heartbeat (`clock_seconds`).

        Raises:
            FatalError: Kafka refuses the connection, or has answered for too long while the group
                acknowledged no heartbeat.
        """
        now = clock_seconds()
        if now - acknowledged_at < self._quiet_seconds:
            self._reachable_since = None
            self._note_reachable()
        elif now >= self._next_check_at:
            error = await connection_error(self._kafka)
            self._next_check_at = clock_seconds() + CHECK_SECONDS
            if error is None:
                self._note_reachable()
                self._require_acknowledgement(acknowledged_at)
            else:
                self._note_unreachable(error)

    def _note_reachable(self) -> None:
        if self._problem is not None:
            self._problem = None
            self._note(KafkaReachable(self._kafka.bootstrap_servers))

    def _note_unreachable(self, error: Exception) -> None:
        text = describe(error, self._kafka)
        if is_final(error):
            raise FatalError(text)
        self._reachable_since = None
        servers = self._kafka.bootstrap_servers
        if self._problem is None:
            self._note(KafkaUnreachable(servers, text))
        self._problem = f"Kafka at {servers} does not answer: {text}"

    def _require_acknowledgement(self, acknowledged_at: float) -> None:
        now = clock_seconds()
        if self._reachable_since is None:
            self._reachable_since = now
        if now - max(self._reachable_since, acknowledged_at) > self._silence_seconds_max:
            raise FatalError(
                f"Lost contact with Kafka at {self._kafka.bootstrap_servers}: no heartbeat was "
                f"acknowledged for {now - acknowledged_at:.0f} s, although Kafka answers."
            )
