"""The records of a transaction, by topic, and what is tried after some are refused as too large.

Rule 1: a batch that is refused as too large is sent again record by record.
Rule 2: an outcome or a dead letter that is refused alone is sent again without a part of it. A
change is whole or nothing: whoever made it decides what becomes of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from service.contracts.outcome import OUTCOME_BYTES_MAX
from service.core.inputs import ChangesRefused
from service.core.records import LogRecord, Transaction
from service.core.settle.dead_letters import truncate_further
from service.core.settle.shorten import shortened
from service.ports import FatalError
from service.settings import KafkaSettings

OUTCOME_TOPIC_BYTES_MIN = OUTCOME_BYTES_MAX + 16 * 1024
"""The least max.message.bytes of the outcomes topic: an outcome with key, headers and batch."""


@dataclass(frozen=True)
class TopicRecords:
    """The records of a transaction for one topic."""

    topic: str
    records: tuple[LogRecord, ...]
    shorten: Callable[[LogRecord], LogRecord | None]
    """Returns a refused record without a part, or None if nothing of it can be written."""
    has_foreign_headers: bool = True
    are_alone: bool = False
    """Whether each record gets a batch of its own, because a batch was refused."""

    def after(self, refused: Sequence[LogRecord]) -> "TopicRecords":
        """Return what to try after the broker refused these records, alone or as a batch.

        Raises:
            FatalError: the outcomes topic refuses even the shortest form of an outcome.
        """
        if not refused:
            return self
        if not self.are_alone:
            return replace(self, are_alone=True)
        ids = set(map(id, refused))
        tried = [self.shorten(one) if id(one) in ids else one for one in self.records]
        return replace(self, records=tuple(one for one in tried if one is not None))


@dataclass(frozen=True)
class Outgoing:
    """What a transaction writes besides positions."""

    outcomes: TopicRecords
    dead: TopicRecords
    changes: TopicRecords

    @property
    def is_empty(self) -> bool:
        """Whether the transaction writes positions alone."""
        return not any(one.records for one in self.by_topic)

    @property
    def by_topic(self) -> tuple[TopicRecords, ...]:
        return self.outcomes, self.dead, self.changes

    def after(self, refused: Sequence[Sequence[LogRecord]]) -> "Outgoing":
        """Return what to try after the broker refused these records of each of `by_topic`.

        Raises:
            FatalError: the outcomes topic refuses even the shortest form of an outcome.
        """
        tried = zip(self.by_topic, refused, strict=True)
        return Outgoing(*[records.after(too_large) for records, too_large in tried])

    def refused_changes(self, refused: Sequence[LogRecord]) -> ChangesRefused | None:
        """Return which changes were refused although each had a batch of its own."""
        if not self.changes.are_alone or not refused:
            return None
        ids = set(map(id, refused))
        changes = enumerate(self.changes.records)
        return ChangesRefused(frozenset(number for number, one in changes if id(one) in ids))


def outgoing(kafka: KafkaSettings, changes_topic: str, transaction: Transaction) -> Outgoing:
    """Return the records of a transaction, for their topics."""
    return Outgoing(
        TopicRecords(
            kafka.outcomes_topic, transaction.outcomes, _shorter, has_foreign_headers=False
        ),
        TopicRecords(kafka.dead_letters_topic, transaction.dead_letters, truncate_further),
        TopicRecords(changes_topic, transaction.changes, _nothing, has_foreign_headers=False),
    )


def _shorter(outcome: LogRecord) -> LogRecord:
    shorter = shortened(outcome)
    if shorter is None:
        raise FatalError(
            f"The outcomes topic refuses an outcome of {outcome.size} bytes: set its "
            f"max.message.bytes to {OUTCOME_TOPIC_BYTES_MIN} or more."
        )
    return shorter


def _nothing(_: LogRecord) -> None:
    """Give no shorter form: a change without a part would be another change."""
