"""The errors of Kafka in words: what is wrong, and what to do (contract §2).

By class as aiokafka names them, for every error that an operation of asset-sync can meet and that
needs nothing but its name. What depends on more (rights, TLS) is told by `rights.in_words`.
"""

import re

from aiokafka import errors
from aiokafka.errors import KafkaError, for_code

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

_NAMED = re.compile(r"\b([A-Z]\w+)\(")
_CODED = re.compile(r"\[Error (-?\d+)\]")


def words_of(error: BaseException) -> str | None:
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
