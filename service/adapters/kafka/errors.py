"""The errors of Kafka in words: what is wrong, and what to do (contract §2).

By class as aiokafka names them, for every error that an operation of asset-sync can meet and that
needs nothing but its name. What depends on more (rights, TLS) is told by `rights.describe`.
"""

import re
import ssl
from collections.abc import Iterable, Iterator

from aiokafka import errors
from aiokafka.errors import (
    AuthenticationFailedError,
    BrokerResponseError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)

from service.adapters.kafka.aiokafka_gaps.fencing import InstanceFencedError
from service.adapters.kafka.aiokafka_gaps.permissions import Topic
from service.adapters.kafka.options import last_refusal
from service.settings import KafkaSettings

DETAILS_CHARACTERS_MAX = 300

_WAIT = "asset-sync tries again; if this goes on, look at the brokers and their logs."
_COORDINATOR = (
    "Kafka's coordinator of the group {group} is not available: are __consumer_offsets and "
    f"__transaction_state there, with enough brokers for their replicas? {_WAIT}"
)
_LEADER = f"A partition has no leader at present (a broker stopped or is starting). {_WAIT}"
_REPLICAS = (
    "A topic has fewer in-sync replicas than its min.insync.replicas: start the missing brokers, "
    "or lower min.insync.replicas."
)
_FENCED = (
    "Another process uses the same transactional id: is ASSET_SYNC_KAFKA__GROUP_INSTANCE_ID unique "
    "per replica? A replica that was paused for longer than its transaction may also meet this; "
    "it starts again."
)
_TRANSACTION = (
    "Kafka lost track of the transaction of this replica (a broker restarted, or the transactional "
    "id expired). Nothing is lost; the replica starts again."
)
_LIMITS = "the topic's max.message.bytes, and segment.bytes"
_MEMBERSHIP = "The group {group} went on without this replica, which joins it again."
_VERSION = (
    "The broker does not speak a version of the protocol that asset-sync needs: use Apache Kafka "
    "2.5 or later, and name its port for clients, not the controller's."
)
_MECHANISM = (
    "The broker does not offer this SASL mechanism: set ASSET_SYNC_KAFKA__SASL_MECHANISM to one of "
    "its sasl.enabled.mechanisms."
)
_UNREACHABLE = (
    "No broker of {brokers} can be reached: check ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS, the network "
    "and the brokers' advertised.listeners."
)
_SLOW = "Kafka at {brokers} did not answer in time: look at the brokers' load and the network."
_DAMAGED = (
    "Kafka has a damaged record: its checksum is wrong. Look at the disks of the brokers; to go "
    "on behind it, stop all replicas and set the position with kafka-consumer-groups."
)
_UNEXPECTED = (
    "Kafka failed unexpectedly, or with an error that asset-sync does not know: the broker's log "
    "of this moment says more."
)

WORDS: dict[type[BaseException], str] = {
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
    errors.SecurityDisabled: "The broker has no authorizer: its rights cannot be asked for.",
    errors.ClusterAuthorizationFailedError: (
        "Kafka does not let our user write with an idempotent producer: grant Write and Describe "
        "on transactional ids prefixed {group}., or IdempotentWrite on the cluster."
    ),
    # --- topics and records ---
    errors.UnknownTopicOrPartitionError: (
        "A topic or partition is not there, or was deleted: create it; `asset-sync check` names "
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
    errors.NotEnoughReplicasError: _REPLICAS,
    errors.NotEnoughReplicasAfterAppendError: _REPLICAS,
    errors.MessageSizeTooLargeError: f"A record is larger than the topic takes: raise {_LIMITS}.",
    errors.RecordTooLargeError: f"A record is larger than the topic takes: raise {_LIMITS}.",
    errors.RecordListTooLargeError: f"A batch is larger than the topic takes: raise {_LIMITS}.",
    errors.InvalidTimestampError: (
        "The broker refuses the time of a record: is this machine's clock right? Else raise the "
        "topic's message.timestamp.before.max.ms and message.timestamp.after.max.ms."
    ),
    errors.UnsupportedForMessageFormatError: (
        "A topic has a message format of Kafka before 0.11: raise its message.format.version."
    ),
    errors.PolicyViolationError: "A policy of the broker refuses this: ask who runs it.",
    errors.CorruptRecordException: _DAMAGED,
    errors.InvalidFetchRequestError: _DAMAGED,
    errors.UnsupportedCodecError: (
        "Records are packed with a codec that is not installed here: install asset-sync from its "
        "lock or its image."
    ),
    errors.KafkaStorageError: "A disk of a broker fails: look at the log of the broker.",
    errors.OffsetOutOfRangeError: (
        "A position is not on the broker any more: retention deleted its records, or the topic was "
        "created again."
    ),
    errors.NoOffsetForPartitionError: (
        "A partition has no position yet: asset-sync sets one when it joins the group {group}."
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
    errors.GroupLoadInProgressError: _COORDINATOR,
    errors.GroupCoordinatorNotAvailableError: _COORDINATOR,
    errors.NotCoordinatorForGroupError: _COORDINATOR,
    errors.IllegalGenerationError: _MEMBERSHIP,
    errors.UnknownMemberIdError: _MEMBERSHIP,
    errors.RebalanceInProgressError: _MEMBERSHIP,
    errors.MemberIdRequired: _MEMBERSHIP,
    errors.CommitFailedError: _MEMBERSHIP,
    errors.NonEmptyGroup: "The group {group} has members: stop them first.",
    errors.GroupIdNotFound: "Kafka has no group {group}: no replica has joined it yet.",
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
        "The broker is still ending the last transaction of this replica; asset-sync tries again."
    ),
    errors.InvalidTransactionTimeout: (
        "The broker's transaction.max.timeout.ms is below the 10 s of asset-sync's transactions: "
        "raise it."
    ),
    errors.UnknownError: _UNEXPECTED,
}

_NOT_OURS = "Kafka does not accept our certificate: check SSL_CERT_FILE, its CA and its dates."
_CERTIFICATE_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (
        "Kafka wants a certificate of ours: set SSL_CERT_FILE and SSL_KEY_FILE."
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": _NOT_OURS,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _NOT_OURS,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _NOT_OURS,
    "TLSV1_ALERT_UNKNOWN_CA": _NOT_OURS,
}
"""What a broker answers to our certificate, or to none, as OpenSSL names it."""
_NAMED = re.compile(r"\b([A-Z]\w+)\(")
_CODED = re.compile(r"\[Error (-?\d+)\]")


def describe(error: BaseException, kafka: KafkaSettings) -> str:
    """An error of Kafka's for a person: a right that is missing is named, with what to grant."""
    match error:
        case TopicAuthorizationFailedError():
            needed = ", ".join(_names(error.args)) or "a topic"
            return (
                f"Kafka does not let our user at {needed}: grant Read on events topics, "
                f"Write on {kafka.outcomes_topic} and {kafka.dead_letters_topic}."
            )
        case GroupAuthorizationFailedError():
            return f"Kafka does not let our user into the group: grant Read on {kafka.group_id}."
        case TransactionalIdAuthorizationFailed():
            return (
                "Kafka does not let our user have a transactional id: grant Write and Describe "
                f"on those prefixed {kafka.group_id}."
            )
        case AuthenticationFailedError() | SaslAuthenticationFailed():
            return (
                f"Kafka refuses our user {kafka.sasl_username}: check SASL_USERNAME, "
                "SASL_PASSWORD and SASL_MECHANISM."
            )
        case InstanceFencedError():
            return (
                "Another process uses our group.instance.id "
                f"{kafka.group_instance_id!r}; it must be unique per replica."
            )
        case ssl.SSLCertVerificationError():
            return (
                f"Kafka's certificate is not trusted ({error.verify_message}): set SSL_CA_FILE, "
                "and name brokers as their certificates do."
            )
        case ssl.SSLError() if error.reason in _CERTIFICATE_ALERTS:
            return _CERTIFICATE_ALERTS[error.reason]
        case ssl.SSLError():
            return f"TLS with Kafka fails ({error.reason}): check SECURITY_PROTOCOL and SSL_*."
        case KafkaConnectionError() if (refusal := last_refusal()) is not None:
            return describe(refusal, kafka) if _is_refusal(refusal) else f"{error}: {refusal}"
        case _:
            return _other(error, kafka)


def _other(error: BaseException, kafka: KafkaSettings) -> str:
    """An error that needs only its name; one without words keeps its own, never a code alone."""
    words = text_of(error)
    if words is None and isinstance(error, BrokerResponseError):
        words = f"Kafka refuses a request: {error.description} The log of the broker says more."
    if words is None:
        return str(error) or repr(error)
    cause = words.format(
        group=kafka.group_id,
        brokers=kafka.bootstrap_servers,
        session=kafka.session_timeout_seconds,
    )
    details = ", ".join(str(part) for part in error.args)[:DETAILS_CHARACTERS_MAX]
    return f"{cause} (Kafka: {type(error).__name__}{': ' if details else ''}{details})"


def is_final(error: BaseException) -> bool:
    """Whether trying again is of no use: only a person can mend it."""
    if isinstance(error, KafkaConnectionError):
        refusal = last_refusal()
        return refusal is not None and _is_refusal(refusal)
    return _is_refusal(error)


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, ssl.SSLError) and error.reason in _CERTIFICATE_ALERTS:
        return True
    return isinstance(
        error,
        AuthenticationFailedError
        | SaslAuthenticationFailed
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
        return f"Topic {name} does not exist: create it; asset-sync does not create topics."
    if missing is not None:
        return f"The Kafka user may not {missing.lower()} topic {name}: grant {missing} on it."
    return None


def text_of(error: BaseException) -> str | None:
    """The words for an error, also where aiokafka wrapped it in the text of another one."""
    found = WORDS.get(type(error))
    if found is None and type(error) is KafkaError:
        found = next((WORDS[kind] for kind in _wrapped(str(error)) if kind in WORDS), None)
    return found


def _wrapped(text: str) -> list[type[BaseException]]:
    """The errors that a text names, by class or by code."""
    named = [getattr(errors, name, None) for name in _NAMED.findall(text)]
    coded = [for_code(int(code)) for code in _CODED.findall(text)]
    return [kind for kind in (*named, *coded) if isinstance(kind, type)]
