"""What Kafka lets us do, and in which words it is said where it does not (contract.md §5, Rights).

Rights are asked for by Metadata v8 (metadata.py).
"""

import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    AuthenticationFailedError,
    BrokerResponseError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)

from service.adapters.kafka.aiokafka_gaps.fencing import InstanceFencedError
from service.adapters.kafka.aiokafka_gaps.requests import MetadataWithRights
from service.adapters.kafka.errors import words_of
from service.adapters.kafka.options import last_refusal
from service.settings import KafkaSettings

DETAILS_CHARACTERS_MAX = 300
_READ, _WRITE = 3, 4
_UNKNOWN = -(2**31)
"""What a broker answers that does not tell."""
_NOT_THERE, _FORBIDDEN = 3, 29

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


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that the service needs, as the broker shows it to us."""

    name: str
    partitions: int
    """0: it is not there, or hidden from us."""
    lacks: str | None
    """The right that is missing: Read or Write."""
    is_hidden: bool = False
    """Not even Describe is granted."""

    @property
    def complaint(self) -> str | None:
        """What is wrong, and what to do; None where it is as we need it."""
        if self.is_hidden:
            return f"Kafka hides topic {self.name} from our user: grant {self.lacks} on it."
        if not self.partitions:
            return f"Kafka has no topic {self.name}: create it; asset-sync creates none."
        if self.lacks is not None:
            return f"Kafka does not let our user {self.lacks.lower()} topic {self.name}: grant it."
        return None


async def topics(admin: AIOKafkaAdminClient, kafka: KafkaSettings) -> list[Topic]:
    """Every topic of the settings: is it there, and may we do what we must?

    Raises:
        KafkaError: the broker refuses to answer.
    """
    needs = dict.fromkeys(kafka.events_topic_names, ("Read", _READ))
    needs |= dict.fromkeys((kafka.outcomes_topic, kafka.dead_letters_topic), ("Write", _WRITE))
    response = await admin._client.send(  # noqa: SLF001 - its own methods know no v8
        admin._client.get_random_node(),  # noqa: SLF001
        MetadataWithRights(needs),
    )
    found = {
        topic: (code, partitions, allowed)
        for code, topic, _, partitions, allowed in response.topics
    }
    return [_topic(name, *found[name], *need) for name, need in needs.items()]


def _topic(
    name: str, code: int, partitions: list[Any], allowed: int, right: str, operation: int
) -> Topic:
    if code == _FORBIDDEN:
        return Topic(name, 0, right, is_hidden=True)
    if code == _NOT_THERE:
        return Topic(name, 0, None)
    if code:
        raise for_code(code)(name)
    may = allowed == _UNKNOWN or bool(allowed & (1 << operation))
    return Topic(name, len(partitions), None if may else right)


def in_words(error: BaseException, kafka: KafkaSettings) -> str:
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
            return in_words(refusal, kafka) if _is_refusal(refusal) else f"{error}: {refusal}"
        case _:
            return _other(error, kafka)


def _other(error: BaseException, kafka: KafkaSettings) -> str:
    """An error that needs only its name; one without words keeps its own, never a code alone."""
    words = words_of(error)
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
