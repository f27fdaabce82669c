"""Every error of Kafka's says its cause and its remedy, never only a code."""

import inspect
from typing import Any

import pytest
from aiokafka import errors
from aiokafka.errors import BrokerResponseError, KafkaError

from service.adapters.kafka.aiokafka_gaps.fencing import InstanceFencedError
from service.adapters.kafka.errors import WORDS, describe, text_of
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
    # `describe` tells more of them than their name.
    *{"TopicAuthorizationFailedError", "GroupAuthorizationFailedError"},
    *{"TransactionalIdAuthorizationFailed", "SaslAuthenticationFailed"},
}
CLASSES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, BrokerResponseError)
    if kind is not BrokerResponseError
}


@pytest.mark.parametrize("name", CLASSES)
def test_every_code_has_words(name: str) -> None:
    """Those that a new aiokafka knows, too."""
    kind = CLASSES[name]
    words = describe(kind(), KAFKA)

    assert (kind in WORDS) or name in OF_OTHERS | WITH_MORE
    assert len(words.split()) > 5
    assert "{" not in words


def test_another_application_in_the_group_is_named_as_such() -> None:
    """With the remedy; the library's own name comes last, for a search."""
    words = describe(errors.InconsistentGroupProtocolError(), KAFKA)

    assert words.startswith("Another application is in the group a-group, with another assignor")
    assert "ASSET_SYNC_KAFKA__GROUP_ID" in words
    assert words.endswith("(Kafka: InconsistentGroupProtocolError)")


@pytest.mark.parametrize(
    "text",
    [
        repr(errors.InvalidSessionTimeoutError()),
        f"Unexpected exception in heartbeat task: {errors.InvalidSessionTimeoutError()!r}",
        str(errors.InvalidSessionTimeoutError()),
    ],
)
def test_an_error_in_the_text_of_another_has_its_words(text: str) -> None:
    """As aiokafka's coordinator wraps what it did not expect."""
    words = describe(KafkaError(text), KAFKA)

    assert "does not accept a session timeout of 10 s" in words
    assert "group.min.session.timeout.ms" in words


def test_what_has_no_words_keeps_its_own() -> None:
    """An operating system's error says what it says."""
    assert text_of(OSError("no route")) is None
    assert describe(OSError("no route"), KAFKA) == "no route"
    assert describe(KafkaError("Strange(1)"), KAFKA) == "KafkaError: Strange(1)"
    assert "must be unique per replica" in describe(InstanceFencedError(), KAFKA)
    assert "did not answer in time" in describe(TimeoutError(), KAFKA)
