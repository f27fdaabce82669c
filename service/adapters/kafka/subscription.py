"""What a member of a consumer group reads, and what the group has to know of it."""

from dataclasses import dataclass

from service.settings import KafkaSettings


@dataclass(frozen=True, slots=True)
class Subscription:
    """A membership of a group. The group and the topics to read are those of `kafka`."""

    kafka: KafkaSettings
    drain_seconds: float
    """How long the group has to wait for the drain of this member in a rebalance."""
    replicas_max: int | None = None
    """More members than this exceed the PIM's limit of calls at once; None if none calls it."""
