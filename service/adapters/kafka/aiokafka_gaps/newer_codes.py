"""Errors of brokers whose codes aiokafka 0.14 does not know: it calls each of them UnknownError.

Source: the table of error codes in Kafka's protocol guide (https://kafka.apache.org/protocol).

Seam: `aiokafka.errors.kafka_errors`, the classes by code, from which `for_code` reads. Like the
library's UnknownError, none of these errors is retried.
"""

from aiokafka.errors import BrokerResponseError, kafka_errors

FIRST_CODE = 73
"""The first code after the library's own table, apart from those it has above it."""
CODES_MAX = 256
"""Codes below this one are told apart; Kafka 4.1 has codes up to 133."""


class FencedLeaderEpochError(BrokerResponseError):  # type: ignore[misc]
    """The client knows an older leader of the partition than the broker."""

    errno = 74
    message = "FENCED_LEADER_EPOCH"


class UnknownLeaderEpochError(BrokerResponseError):  # type: ignore[misc]
    """The client knows a newer leader of the partition than the broker."""

    errno = 75
    message = "UNKNOWN_LEADER_EPOCH"


class UnsupportedCompressionTypeError(BrokerResponseError):  # type: ignore[misc]
    """The version of the request does not allow the codec of the records."""

    errno = 76
    message = "UNSUPPORTED_COMPRESSION_TYPE"


class OffsetNotAvailableError(BrokerResponseError):  # type: ignore[misc]
    """The leader of the partition is new, and does not know the end yet."""

    errno = 78
    message = "OFFSET_NOT_AVAILABLE"


class GroupMaxSizeReachedError(BrokerResponseError):  # type: ignore[misc]
    """The group has as many members as `group.max.size` allows."""

    errno = 81
    message = "GROUP_MAX_SIZE_REACHED"


class FencedInstanceIdError(BrokerResponseError):  # type: ignore[misc]
    """Another member of the group has taken the same `group.instance.id`."""

    errno = 82
    message = "FENCED_INSTANCE_ID"


class InvalidRecordError(BrokerResponseError):  # type: ignore[misc]
    """The broker checked a record and refuses it."""

    errno = 87
    message = "INVALID_RECORD"


class UnstableOffsetCommitError(BrokerResponseError):  # type: ignore[misc]
    """A transaction that is still open may change the offset."""

    errno = 88
    message = "UNSTABLE_OFFSET_COMMIT"


class ThrottlingQuotaExceededError(BrokerResponseError):  # type: ignore[misc]
    """A quota on changes, such as on new topics, is used up."""

    errno = 89
    message = "THROTTLING_QUOTA_EXCEEDED"


NAMED: tuple[type[BrokerResponseError], ...] = (
    FencedLeaderEpochError,
    UnknownLeaderEpochError,
    UnsupportedCompressionTypeError,
    OffsetNotAvailableError,
    GroupMaxSizeReachedError,
    FencedInstanceIdError,
    InvalidRecordError,
    UnstableOffsetCommitError,
    ThrottlingQuotaExceededError,
)


def _unnamed(code: int) -> type[BrokerResponseError]:
    """Return a class for a code without a name: its text has the code, for a search."""
    members = {"errno": code, "message": str(code), "description": f"Its error code is {code}."}
    return type(f"Code{code}Error", (BrokerResponseError,), members)


def tell_apart() -> None:
    """Let `for_code` return a class of its own for each code that aiokafka does not know."""
    named = {kind.errno: kind for kind in NAMED}
    for code in range(FIRST_CODE, CODES_MAX):
        kafka_errors.setdefault(code, named.get(code) or _unnamed(code))
