"""What a broker's answer says about a topic and the user's permission on it."""

import pytest
from aiokafka.errors import NotLeaderForPartitionError

from service.adapters.kafka.aiokafka_gaps.permissions import Permission, Topic, _topic

READ, WRITE, DESCRIBE = 1 << 3, 1 << 4, 1 << 8
UNREPORTED = -(2**31)
PARTITIONS = [object()] * 6


@pytest.mark.parametrize(
    ("allowed", "permission", "missing"),
    [
        (READ | DESCRIBE, "Read", None),
        (READ | DESCRIBE, "Write", "Write"),
        (WRITE | DESCRIBE, "Write", None),
        (WRITE | DESCRIBE, "Read", "Read"),
        (0, "Read", "Read"),
        (UNREPORTED, "Write", None),
    ],
)
def test_a_permission_is_one_bit(
    allowed: int, permission: Permission, missing: Permission | None
) -> None:
    """A broker that does not report permissions is not doubted."""
    assert _topic("events", 0, PARTITIONS, allowed, permission) == Topic("events", 6, missing)


def test_a_topic_that_is_not_there_lacks_no_permission() -> None:
    assert _topic("events", 3, [], UNREPORTED, "Read") == Topic("events", 0, None)


def test_a_topic_that_is_hidden_lacks_its_permission() -> None:
    """The broker does not say whether it exists."""
    hidden = Topic("events", 0, "Write", is_hidden=True)
    assert _topic("events", 29, [], 0, "Write") == hidden


def test_another_error_is_kafkas_own() -> None:
    with pytest.raises(NotLeaderForPartitionError):
        _topic("events", 6, [], 0, "Read")
