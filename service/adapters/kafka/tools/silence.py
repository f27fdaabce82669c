"""End the work of a command when Kafka has fallen silent.

aiokafka waits without end for a broker that is away and for a topic that was deleted, and tells
nobody. A person in front of a terminal has to learn of it.

Rule 1: after `ASK_SECONDS` without any progress Kafka is asked for the reason, again and again.
Rule 2: a topic that no longer has what is wanted, and a refused login, end the work at once. A
broker that does not answer may be restarting: that ends the work after `SILENT_SECONDS_MAX`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from aiokafka.errors import KafkaError, KafkaTimeoutError, UnknownTopicOrPartitionError

from service.adapters.kafka.errors import is_final
from service.closing import close_within

ASK_SECONDS = 5.0
ANSWER_SECONDS_MAX = 5.0
"""How long Kafka may take to answer the question why it is silent."""
SILENT_SECONDS_MAX = 60.0
"""How long a command waits for a broker: longer than the restart of one takes."""
LOOK_SECONDS = 0.5
CLOSE_SECONDS_MAX = 5.0

Question = Callable[[], Awaitable[None]]
"""Asks Kafka for something that it answers if all is well, and raises the error otherwise."""
_Result = TypeVar("_Result")


class TopicChangedError(KafkaError):  # type: ignore[misc]
    """A topic no longer has the records that were to be read; the message says why."""

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


class Closable(Protocol):
    """A client of Kafka."""

    def stop(self) -> Coroutine[Any, Any, None]: ...


class Silence:
    """How long a piece of work has made no progress, and why."""

    def __init__(self, question: Question) -> None:
        self.reason: Exception | None = None
        """The last answer to the question; None if all is well or it was not asked yet."""
        self._question = question
        self._since: float | None = None
        self._ask_at = 0.0

    def end(self) -> None:
        """Note progress."""
        self._since = self.reason = None

    async def continues(self) -> None:
        """Note that there was no progress.

        Raises:
            KafkaError: the reason will not go away, or the silence has lasted too long.
        """
        await self.ask_if_due()
        if self.reason is not None and _is_lasting(self.reason):
            raise self.reason
        if self._since is not None and time.monotonic() - self._since >= SILENT_SECONDS_MAX:
            raise self.reason or KafkaTimeoutError

    async def ask_if_due(self) -> None:
        """Note that there was no progress, and ask for the reason if that was not done lately."""
        now = time.monotonic()
        if self._since is None:
            self._since, self._ask_at = now, now + ASK_SECONDS
        if now < self._ask_at:
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await self._question()
        except (KafkaError, OSError) as error:
            self.reason = error
        else:
            self.reason = None
        self._ask_at = time.monotonic() + ASK_SECONDS


async def unless_silent(work: Coroutine[Any, Any, _Result], question: Question) -> _Result:
    """Return the result of the work, which waits for Kafka all the time.

    Raises:
        KafkaError: the work failed, or Kafka has fallen silent.
    """
    task = asyncio.create_task(work)
    silence = Silence(question)
    try:
        while not (await asyncio.wait({task}, timeout=LOOK_SECONDS))[0]:
            await silence.continues()
        return task.result()
    finally:
        task.cancel()


async def close(client: Closable) -> None:
    """Close a client, and go on without it if it still waits for a silent broker after a while."""
    await close_within(CLOSE_SECONDS_MAX, client.stop())


def _is_lasting(problem: Exception) -> bool:
    return isinstance(problem, UnknownTopicOrPartitionError | TopicChangedError) or is_final(
        problem
    )
