"""Every error of Kafka's is described with its cause and its remedy, never by a code alone."""

import inspect
import socket
import ssl
from typing import Any

import pytest
from aiokafka import errors
from aiokafka.errors import BrokerResponseError, KafkaConnectionError, KafkaError

from service.adapters.kafka import errors as module
from service.adapters.kafka.aiokafka_gaps.group_membership import InstanceFencedError
from service.adapters.kafka.aiokafka_gaps.newer_codes import CODES_MAX, NAMED
from service.adapters.kafka.errors import TEXTS, describe, text_of
from service.settings import KafkaSettings

KAFKA = KafkaSettings.model_validate({"group_id": "a-group", "bootstrap_servers": "a-host:9092"})
OF_OTHERS = {
    # Internal to clusters and clients, or of requests that asset-sync never sends.
    *{"StaleControllerEpochError", "InvalidRequiredAcksError", "TopicAlreadyExistsError"},
    *{"InvalidPartitionsError", "InvalidReplicationFactorError", "InvalidConfigurationError"},
    *{"InvalidReplicationAssignmentError", "NotControllerError", "LogDirNotFound", "NoError"},
    *{"ReassignmentInProgress", "DelegationTokenAuthDisabled", "DelegationTokenNotFound"},
    *{"DelegationTokenOwnerMismatch", "DelegationTokenRequestNotAllowed", "InvalidPrincipalType"},
    *{"DelegationTokenAuthorizationFailed", "DelegationTokenExpired", "FetchSessionIdNotFound"},
    *{"InvalidFetchSessionEpoch"},
}
WITH_MORE = {
    # `describe` builds their texts from more than their class.
    *{"TopicAuthorizationFailedError", "GroupAuthorizationFailedError"},
    *{"TransactionalIdAuthorizationFailed", "SaslAuthenticationFailed"},
}
CLASSES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (*vars(errors).values(), *NAMED)
    if inspect.isclass(kind) and issubclass(kind, BrokerResponseError)
    if kind is not BrokerResponseError
}


@pytest.mark.parametrize("name", CLASSES)
def test_every_code_has_a_text(name: str) -> None:
    """Codes that a newer aiokafka adds fail here until they have one."""
    kind = CLASSES[name]
    text = describe(kind(), KAFKA)

    assert (kind in TEXTS) or name in OF_OTHERS | WITH_MORE
    assert len(text.split()) > 5
    assert "{" not in text


def test_another_application_in_the_group_is_named_as_such() -> None:
    """The remedy follows; the library's own name of the error comes last, for a search."""
    text = describe(errors.InconsistentGroupProtocolError(), KAFKA)

    assert text.startswith("Another application is in the group a-group, with another assignor")
    assert "ASSET_SYNC_KAFKA__GROUP_ID" in text
    assert text.endswith("(Kafka: InconsistentGroupProtocolError)")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (76, "set ASSET_SYNC_KAFKA__COMPRESSION"),
        (81, "The group a-group has as many members as the brokers allow"),
        (82, "ASSET_SYNC_KAFKA__GROUP_INSTANCE_ID; it must be unique"),
        (87, "a compacted topic takes no record without a key"),
        (89, "A quota of the broker is used up"),
    ],
)
def test_a_code_that_the_library_does_not_know_is_described(code: int, told: str) -> None:
    """Also where the library wraps it; it called all of them an unexpected server error."""
    kind = errors.for_code(code)

    for error in (kind(), KafkaError(repr(kind()))):
        assert told in describe(error, KAFKA)
    assert not kind.retriable


def test_any_other_code_is_told_for_a_search() -> None:
    """Of a later Kafka; one that no Kafka has stays unknown."""
    text = describe(errors.for_code(117)(), KAFKA)

    assert text.startswith("Kafka refused a request: Its error code is 117.")
    assert errors.for_code(CODES_MAX) is errors.UnknownError
    assert errors.for_code(79) is errors.MemberIdRequired


@pytest.mark.parametrize(
    "wrapped",
    [
        repr(errors.InvalidSessionTimeoutError()),
        f"Unexpected exception in heartbeat task: {errors.InvalidSessionTimeoutError()!r}",
        str(errors.InvalidSessionTimeoutError()),
    ],
)
def test_an_error_in_the_text_of_another_is_described(wrapped: str) -> None:
    """The coordinator of aiokafka wraps errors that it did not expect."""
    text = describe(KafkaError(wrapped), KAFKA)

    assert "does not accept a session timeout of 10 s" in text
    assert "group.min.session.timeout.ms" in text


def test_an_error_without_a_text_keeps_its_own() -> None:
    assert text_of(OSError("no route")) is None
    assert describe(OSError("no route"), KAFKA) == "no route"
    assert describe(KafkaError("Strange(1)"), KAFKA) == "KafkaError: Strange(1)"
    assert "must be unique per replica" in describe(InstanceFencedError(), KAFKA)
    assert "did not answer in time" in describe(TimeoutError(), KAFKA)


def refused_by_tls(reason: str) -> ssl.SSLError:
    """Return an error as OpenSSL raises it."""
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (
            ConnectionRefusedError(111, "Connect call failed"),
            "no broker can be reached (Connection",
        ),
        (OSError("Multiple exceptions: [Errno 111] a, [Errno 111] b"), "(Connection refused)"),
        (OSError("strange"), "no broker can be reached (strange)"),
        (socket.gaierror(-2, "Name or service not known"), "(Name or service not known)"),
        (TimeoutError(), "no broker can be reached (no answer in time)"),
        (KafkaConnectionError("Connection at h:1 closed"), "(the broker closed the connection)"),
        (refused_by_tls("WRONG_VERSION_NUMBER"), "TLS with Kafka failed (WRONG_VERSION_NUMBER)"),
        (errors.UnsupportedSaslMechanismError(), "does not offer this SASL mechanism"),
    ],
)
def test_a_failed_connection_is_told_by_its_reason(
    refusal: BaseException, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own text lists its nodes and an enumeration."""
    monkeypatch.setattr(module, "last_refusal", lambda: refusal)
    text = describe(KafkaConnectionError("Unable to bootstrap from [('h', 1, <AF>)]"), KAFKA)

    assert told in text
    assert "bootstrap from" not in text
