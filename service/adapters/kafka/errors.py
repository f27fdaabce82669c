"""Describe errors of Kafka to a person: what is wrong, and what to do (contract.md §2).

`TEXTS` has a text for every class of error that an operation of asset-sync can meet. `describe`
adds what depends on more than the class: permissions, passwords and TLS.
"""

import os
import re
import socket
import ssl
from collections.abc import Iterable, Iterator

from aiokafka import errors
from aiokafka.errors import (
    AuthenticationFailedError,
    BrokerResponseError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)

from service.adapters.kafka.aiokafka_gaps import newer_codes
from service.adapters.kafka.aiokafka_gaps.group_membership import InstanceFencedError
from service.adapters.kafka.aiokafka_gaps.permissions import Topic
from service.adapters.kafka.oauth_login import ClientRefusedError, NoKafkaTokenError
from service.adapters.kafka.options import last_refusal
from service.settings import KafkaSettings

newer_codes.tell_apart()  # whoever describes an error needs its code

DETAILS_CHARACTERS_MAX = 300

_WAIT = "asset-sync retries; if this continues, look at the brokers and their logs."
_COORDINATOR = (
    "Kafka's coordinator of the group {group} is not available. Check that the topics "
    "__consumer_offsets and __transaction_state exist and that enough brokers run for their "
    f"replicas. {_WAIT}"
)
_LEADER = f"A partition has no leader now (a broker stopped or is starting). {_WAIT}"
_REPLICAS = (
    "A topic has fewer in-sync replicas than its min.insync.replicas: start the missing brokers, "
    "or lower min.insync.replicas."
)
_FENCED = (
    "Another process uses the same transactional id: check that "
    "ASSET_SYNC_KAFKA__GROUP_INSTANCE_ID is unique per replica. This can also happen to a replica "
    "that was paused for longer than the transaction timeout; it starts again."
)
_TRANSACTION = (
    "Kafka no longer knows the transaction of this replica (a broker restarted, or the "
    "transactional id expired). Nothing is lost; the replica starts again."
)
_LIMITS = "the topic's max.message.bytes, and segment.bytes"
_MEMBERSHIP = "The group {group} rebalanced without this replica, which joins it again."
_VERSION = (
    "The broker does not support a version of the protocol that asset-sync needs: use Apache Kafka "
    "2.5 or later, and connect to a port for clients, not to a controller's port."
)
_MECHANISM = (
    "The broker does not offer this SASL mechanism: set ASSET_SYNC_KAFKA__SASL_MECHANISM to one of "
    "its sasl.enabled.mechanisms."
)
_UNREACHABLE = (
    "None of the brokers {brokers} can be reached: check ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS, the "
    "network and the brokers' advertised.listeners."
)
_SLOW = "Kafka at {brokers} did not answer in time: check the load of the brokers and the network."
_DAMAGED = (
    "Kafka has a damaged record: its checksum is wrong. Check the disks of the brokers. To skip "
    "the record, stop all replicas and set the offset with kafka-consumer-groups."
)
_UNEXPECTED = (
    "Kafka failed unexpectedly, or with an error that asset-sync does not know: see the broker's "
    "log of this time."
)

TEXTS: dict[type[BaseException], str] = {
    # --- the connection ---
    TimeoutError: _SLOW,
    errors.KafkaTimeoutError: _SLOW,
    errors.RequestTimedOutError: _SLOW,
    errors.KafkaConnectionError: _UNREACHABLE,
    errors.NoBrokersAvailable: _UNREACHABLE,
    errors.NodeNotReadyError: _UNREACHABLE,
    errors.KafkaUnavailableError: _UNREACHABLE,
    errors.MetadataEmptyBrokerList: _UNREACHABLE,
    errors.BrokerNotAvailableError: _UNREACHABLE,
    errors.ListenerNotFound: _UNREACHABLE,
    errors.StaleMetadata: _LEADER,
    errors.IncompatibleBrokerVersion: _VERSION,
    errors.UnrecognizedBrokerVersion: _VERSION,
    errors.UnsupportedVersionError: _VERSION,
    errors.InvalidRequestError: _VERSION,
    errors.CorrelationIdError: _VERSION,
    errors.KafkaProtocolError: _VERSION,
    errors.AuthenticationMethodNotSupported: _MECHANISM,
    errors.UnsupportedSaslMechanismError: _MECHANISM,
    errors.IllegalSaslStateError: (
        "The broker expects another security protocol: set ASSET_SYNC_KAFKA__SECURITY_PROTOCOL to "
        "that of its listener."
    ),
    errors.SecurityDisabled: "The broker has no authorizer, so it cannot report permissions.",
    errors.ClusterAuthorizationFailedError: (
        "The Kafka user may not write with an idempotent producer: grant Write and Describe on "
        'transactional ids with the prefix "{group}.", or IdempotentWrite on the cluster.'
    ),
    # --- topics and records ---
    errors.UnknownTopicOrPartitionError: (
        "A topic or partition does not exist, or was deleted: create it. `asset-sync check` lists "
        "what is missing."
    ),
    errors.InvalidTopicError: (
        "A topic name is not valid, or the topic is internal: check "
        "ASSET_SYNC_KAFKA__EVENTS_TOPICS, __OUTCOMES_TOPIC and __DEAD_LETTERS_TOPIC."
    ),
    errors.LeaderNotAvailableError: _LEADER,
    errors.NotLeaderForPartitionError: _LEADER,
    errors.ReplicaNotAvailableError: _LEADER,
    errors.StaleLeaderEpochCodeError: _LEADER,
    newer_codes.FencedLeaderEpochError: _LEADER,
    newer_codes.UnknownLeaderEpochError: _LEADER,
    newer_codes.OffsetNotAvailableError: _LEADER,
    errors.NotEnoughReplicasError: _REPLICAS,
    errors.NotEnoughReplicasAfterAppendError: _REPLICAS,
    errors.MessageSizeTooLargeError: f"A record is too large for its topic: raise {_LIMITS}.",
    errors.RecordTooLargeError: f"A record is too large for its topic: raise {_LIMITS}.",
    errors.RecordListTooLargeError: f"A batch is too large for its topic: raise {_LIMITS}.",
    errors.InvalidTimestampError: (
        "The broker refuses the timestamp of a record: check this machine's clock. If the clock is "
        "right, raise the topic's message.timestamp.before.max.ms and "
        "message.timestamp.after.max.ms."
    ),
    errors.UnsupportedForMessageFormatError: (
        "A topic has the message format of Kafka before 0.11: raise its message.format.version."
    ),
    errors.PolicyViolationError: (
        "A policy of the broker refuses this request: ask the administrator of the broker."
    ),
    newer_codes.ThrottlingQuotaExceededError: (
        "A quota of the broker is used up: wait a minute and try again, or ask the administrator "
        "of the broker."
    ),
    newer_codes.InvalidRecordError: (
        "A topic refuses a record as invalid: a compacted topic takes no record without a key, and "
        "some brokers check a schema. Set the topic's cleanup.policy to delete, or turn the check "
        "off."
    ),
    newer_codes.UnsupportedCompressionTypeError: (
        "The broker does not support the compression of these records: set "
        "ASSET_SYNC_KAFKA__COMPRESSION, or the topic's compression.type, to another one."
    ),
    errors.CorruptRecordException: _DAMAGED,
    errors.InvalidFetchRequestError: _DAMAGED,
    errors.UnsupportedCodecError: (
        "Records are compressed with a codec that is not installed: install asset-sync from its "
        "lock file or use its image."
    ),
    errors.KafkaStorageError: "A disk of a broker fails: see the log of the broker.",
    errors.OffsetOutOfRangeError: (
        "An offset is no longer on the broker: retention deleted its records, or the topic was "
        "created again."
    ),
    errors.NoOffsetForPartitionError: (
        "A partition has no committed offset yet: asset-sync commits one when it joins the group "
        "{group}."
    ),
    # --- the group ---
    errors.InconsistentGroupProtocolError: (
        "Another application is in the group {group}, with another assignor or protocol than "
        "asset-sync's (sticky): give asset-sync a group of its own (ASSET_SYNC_KAFKA__GROUP_ID), "
        "or stop the other one. `asset-sync check` lists the members."
    ),
    errors.InvalidGroupIdError: (
        "Kafka does not accept the group id {group!r}: set ASSET_SYNC_KAFKA__GROUP_ID."
    ),
    errors.InvalidSessionTimeoutError: (
        "The broker does not accept a session timeout of {session:g} s: set "
        "ASSET_SYNC_KAFKA__SESSION_TIMEOUT_SECONDS between the broker's "
        "group.min.session.timeout.ms and group.max.session.timeout.ms."
    ),
    newer_codes.GroupMaxSizeReachedError: (
        "The group {group} has as many members as the brokers allow: stop replicas or other "
        "applications in this group, or raise the brokers' group.max.size."
    ),
    newer_codes.FencedInstanceIdError: (
        "Another process uses the same ASSET_SYNC_KAFKA__GROUP_INSTANCE_ID; it must be unique per "
        "replica."
    ),
    newer_codes.UnstableOffsetCommitError: (
        "A transaction still changes the offsets of the group {group}. If this continues for more "
        "than a minute, look at the brokers and their logs."
    ),
    errors.GroupLoadInProgressError: _COORDINATOR,
    errors.GroupCoordinatorNotAvailableError: _COORDINATOR,
    errors.NotCoordinatorForGroupError: _COORDINATOR,
    errors.IllegalGenerationError: _MEMBERSHIP,
    errors.UnknownMemberIdError: _MEMBERSHIP,
    errors.RebalanceInProgressError: _MEMBERSHIP,
    errors.MemberIdRequired: _MEMBERSHIP,
    errors.CommitFailedError: _MEMBERSHIP,
    errors.NonEmptyGroup: "The group {group} has members: stop them first.",
    errors.GroupIdNotFound: "The group {group} does not exist: no replica has joined it yet.",
    errors.OffsetMetadataTooLargeError: (
        "The broker's offset.metadata.max.bytes is too small: set it to 4096 or more."
    ),
    errors.InvalidCommitOffsetSizeError: (
        "The broker's offset.metadata.max.bytes is too small: set it to 4096 or more."
    ),
    # --- transactions ---
    errors.ProducerFenced: _FENCED,
    errors.InvalidProducerEpoch: _FENCED,
    errors.TransactionCoordinatorFenced: _TRANSACTION,
    errors.OutOfOrderSequenceNumber: _TRANSACTION,
    errors.DuplicateSequenceNumber: _TRANSACTION,
    errors.InvalidTxnState: _TRANSACTION,
    errors.InvalidProducerIdMapping: _TRANSACTION,
    errors.UnknownProducerId: _TRANSACTION,
    errors.OperationNotAttempted: _TRANSACTION,
    errors.ProducerClosed: _TRANSACTION,
    errors.ConcurrentTransactions: (
        "The broker is still ending the last transaction of this replica; asset-sync retries."
    ),
    errors.InvalidTransactionTimeout: (
        "The broker's transaction.max.timeout.ms is below the 10 s of asset-sync's transactions: "
        "raise it."
    ),
    errors.UnknownError: _UNEXPECTED,
}

_CERTIFICATE_REFUSED = (
    "Kafka does not accept the client certificate: check ASSET_SYNC_KAFKA__SSL_CERT_FILE, the CA "
    "that signed it, and its dates."
)
_CERTIFICATE_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (
        "Kafka requires a client certificate: set ASSET_SYNC_KAFKA__SSL_CERT_FILE and "
        "__SSL_KEY_FILE."
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": _CERTIFICATE_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _CERTIFICATE_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _CERTIFICATE_REFUSED,
    "TLSV1_ALERT_UNKNOWN_CA": _CERTIFICATE_REFUSED,
}
"""Texts for the TLS alerts that a broker sends about a client certificate, by OpenSSL's names."""
_NAMED = re.compile(r"\b([A-Z]\w+)\(")
_CODED = re.compile(r"\[Error (-?\d+)\]")
_ERRNO = re.compile(r"\[Errno (\d+)\]")


def describe(error: BaseException, kafka: KafkaSettings) -> str:
    """Return the text for an error; for a missing permission, it says what to grant."""
    match error:
        case TopicAuthorizationFailedError():
            needed = ", ".join(_names(error.args)) or "a topic"
            return (
                f"The Kafka user may not use {needed}: grant Read on the events topics, and Write "
                f"on {kafka.outcomes_topic} and {kafka.dead_letters_topic}."
            )
        case GroupAuthorizationFailedError():
            return (
                f"The Kafka user may not join the group {kafka.group_id}: grant Read on this group."
            )
        case TransactionalIdAuthorizationFailed():
            return (
                "The Kafka user may not use a transactional id: grant Write and Describe on "
                f'transactional ids with the prefix "{kafka.group_id}.".'
            )
        case NoKafkaTokenError() | AuthenticationFailedError() | SaslAuthenticationFailed():
            return _about_login(error, kafka)
        case InstanceFencedError():
            return (
                "Another process uses the same ASSET_SYNC_KAFKA__GROUP_INSTANCE_ID "
                f"({kafka.group_instance_id!r}); it must be unique per replica."
            )
        case ssl.SSLCertVerificationError():
            return (
                f"Kafka's certificate is not trusted ({error.verify_message}): set "
                "ASSET_SYNC_KAFKA__SSL_CA_FILE, and use the host names of the certificates."
            )
        case ssl.SSLError() if error.reason in _CERTIFICATE_ALERTS:
            return _CERTIFICATE_ALERTS[error.reason]
        case ssl.SSLError():
            return (
                f"TLS with Kafka failed ({error.reason}): check "
                "ASSET_SYNC_KAFKA__SECURITY_PROTOCOL and the settings ASSET_SYNC_KAFKA__SSL_*."
            )
        case KafkaConnectionError() if (refusal := last_refusal()) is not None:
            why = network_reason(refusal)
            return describe(refusal, kafka) if why is None else f"no broker can be reached ({why})"
        case _:
            return _other(error, kafka)


def _about_login(error: BaseException, kafka: KafkaSettings) -> str:
    if isinstance(error, NoKafkaTokenError):
        return str(error.args[0])
    if kafka.sasl_token_url is not None:
        return (
            f"Kafka refuses the token of client {kafka.sasl_username}: check "
            "ASSET_SYNC_KAFKA__SASL_TOKEN_URL and __SASL_SCOPE, and see the broker's log."
        )
    return (
        f"Kafka refuses the login of user {kafka.sasl_username}: check "
        "ASSET_SYNC_KAFKA__SASL_USERNAME, __SASL_PASSWORD and __SASL_MECHANISM."
    )


def network_reason(refusal: BaseException) -> str | None:
    """Return the network's reason for a failed connection; None if TLS or Kafka refused it."""
    match refusal:
        case ssl.SSLError():
            return None
        case socket.gaierror():
            return refusal.strerror
        case OSError(errno=int(number)):
            return os.strerror(number)
        case TimeoutError():
            return "no answer in time"
        case OSError():  # of several addresses, in one text
            first = _ERRNO.search(str(refusal))
            return os.strerror(int(first[1])) if first else str(refusal)
        case KafkaConnectionError():
            return "the broker closed the connection"
        case _:
            return None


def _other(error: BaseException, kafka: KafkaSettings) -> str:
    """Return the text for the class of an error, or the error's own text where there is none."""
    text = text_of(error)
    if text is None and isinstance(error, BrokerResponseError):
        text = f"Kafka refused a request: {error.description} See the log of the broker."
    if text is None:
        return str(error) or repr(error)
    cause = text.format(
        group=kafka.group_id,
        brokers=kafka.bootstrap_servers,
        session=kafka.session_timeout_seconds,
    )
    details = ", ".join(str(part) for part in error.args)[:DETAILS_CHARACTERS_MAX]
    return f"{cause} (Kafka: {type(error).__name__}{': ' if details else ''}{details})"


def is_final(error: BaseException) -> bool:
    """Whether a retry is useless, because only a person can fix the cause."""
    if isinstance(error, KafkaConnectionError):
        refusal = last_refusal()
        return refusal is not None and _is_refusal(refusal)
    return _is_refusal(error)


def can_wait(error: BaseException) -> bool:
    """Whether the same request may succeed later, because a broker did not answer or will recover.

    aiokafka takes its own timeout for an error that is not retried.
    """
    return isinstance(error, TimeoutError | KafkaTimeoutError) or getattr(error, "retriable", False)


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, ssl.SSLError) and error.reason in _CERTIFICATE_ALERTS:
        return True
    return isinstance(
        error,
        AuthenticationFailedError
        | SaslAuthenticationFailed
        | ClientRefusedError
        | ssl.SSLCertVerificationError
        | TopicAuthorizationFailedError
        | GroupAuthorizationFailedError
        | TransactionalIdAuthorizationFailed,
    )


def _names(parts: Iterable[object]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, list | set | tuple | frozenset):
            yield from _names(part)


def topic_problem(topic: Topic) -> str | None:
    """Return what is wrong with a topic and what to do, or None where nothing is wrong."""
    name, missing = topic.name, topic.missing_permission
    if topic.is_hidden:
        return f"Topic {name} is hidden from the Kafka user: grant {missing} on it."
    if not topic.partitions:
        return (
            f"Topic {name} does not exist: create it, for instance with `asset-sync topics create`."
        )
    if missing is not None:
        return f"The Kafka user may not {missing.lower()} topic {name}: grant {missing} on it."
    return None


def text_of(error: BaseException) -> str | None:
    """Return the text for an error, also where aiokafka wrapped it in the text of another error."""
    found = TEXTS.get(type(error))
    if found is None and type(error) is KafkaError:
        found = next((TEXTS[kind] for kind in _wrapped(str(error)) if kind in TEXTS), None)
    return found


def _wrapped(text: str) -> list[type[BaseException]]:
    """Return the classes of the errors that a text names, by class or by code."""
    newer = {kind.__name__: kind for kind in newer_codes.NAMED}
    named = [getattr(errors, name, newer.get(name)) for name in _NAMED.findall(text)]
    coded = [for_code(int(code)) for code in _CODED.findall(text)]
    return [kind for kind in (*named, *coded) if isinstance(kind, type)]
