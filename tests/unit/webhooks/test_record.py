"""What a verified delivery leaves on its record, and what never reaches a topic."""

import pytest

from service.mapping.file.webhook import Webhook
from service.webhooks.delivery import Delivery, HeaderFields
from service.webhooks.endpoint import Endpoint, by_path, endpoint_of
from service.webhooks.record import headers_of, key_of
from tests.support.webhooks import NOW

HMAC = {"hmac": {"header": "X-Signature", "secret": "s"}}


def endpoint(**given: object) -> Endpoint:
    """Return the endpoint of a webhook in the sources file."""
    webhook = {"path": "/bynder", "verify": HMAC} | given
    return endpoint_of("bynder", Webhook.model_validate(webhook), "dam.bynder", lambda *_: "a1")


def kept(fields: list[tuple[bytes, bytes]], made: Endpoint) -> list[tuple[str, bytes]]:
    """Return the headers of the record that come from the request."""
    delivery = Delivery(HeaderFields(fields), b"", NOW)
    return list(headers_of(delivery, "bynder", "hmac", made.kept))[3:]


def test_listed_headers_are_kept_in_lower_case() -> None:
    fields = [(b"X-Contentful-Topic", b"a"), (b"x-contentful-topic", b"b"), (b"X-Other", b"c")]
    made = endpoint(headers=["X-Contentful-Topic"])
    assert kept(fields, made) == [("x-contentful-topic", b"a"), ("x-contentful-topic", b"b")]


@pytest.mark.parametrize(
    ("name", "value", "header"),
    [
        (b"Content-Type", b"application/json", ("content-type", b"application/json")),
        (b"CE-Id", b"1", ("ce_id", b"1")),
        (b"ce-subject", b"Stra%C3%9Fe%20%22x%22", ("ce_subject", 'Straße "x"'.encode())),
        (b"ce-subject", b"%ff", ("ce_subject", b"%ff")),
    ],
)
def test_cloud_events_are_readable_by_a_kafka_consumer(
    name: bytes, value: bytes, header: tuple[str, bytes]
) -> None:
    """HTTP writes attributes as `ce-*`, percent-encoded; Kafka as `ce_*`, in plain UTF-8."""
    assert kept([(name, value)], endpoint()) == [header]


@pytest.mark.parametrize(
    "verify",
    [
        HMAC,
        {"cloudinary": {"secret": "s"}},
        {"standard": {"secret": "s"}},
        {"token": {"header": "Authorization", "secret": "s"}},
        {"adobe": {"client_id": "c"}},
        {"sns": {"topics": ["arn"]}},
        {"none": "I trust the network"},
    ],
    ids=lambda verify: next(iter(verify)),
)
def test_signatures_and_credentials_never_reach_a_topic(verify: dict[str, object]) -> None:
    names = [
        b"Authorization", b"Proxy-Authorization", b"Cookie", b"X-Signature", b"X-Cld-Signature",
        b"Webhook-Signature", b"X-Adobe-Digital-Signature-1",
    ]  # fmt: skip
    assert kept([(name, b"x") for name in names], endpoint(verify=verify)) == []


def test_even_listed_signatures_never_reach_a_topic() -> None:
    made = endpoint(verify={"cloudinary": {"secret": "s"}}, headers=["X-Cld-Signature", "X-A"])
    assert made.kept == {"x-a"}


@pytest.mark.parametrize(
    ("identity", "key"),
    [("a1", b"a1"), ("", b"bynder"), ("é" * 255, "é".encode() * 255), ("x" * 256, b"bynder")],
)
def test_the_key_is_the_identity_or_the_source(identity: str, key: bytes) -> None:
    assert key_of("bynder", identity) == key


@pytest.mark.parametrize(
    ("key", "has_identity"), [(None, True), ("identity", True), ("source", False)]
)
def test_the_file_chooses_the_key(key: str | None, has_identity: object) -> None:
    made = endpoint(**({} if key is None else {"key": key}))
    assert (made.identity is not None) is has_identity


def test_an_endpoint_is_found_by_its_path() -> None:
    other = endpoint(path="/b", topic="dam.other")
    assert by_path([endpoint(), other])["/b"].topic == "dam.other"
    assert endpoint().topic == "dam.bynder"


@pytest.mark.parametrize(
    ("verify", "methods"), [({"adobe": {"client_id": "c"}}, "GET, POST"), (HMAC, "POST")]
)
def test_the_methods_of_an_endpoint(verify: dict[str, object], methods: str) -> None:
    assert endpoint(verify=verify).methods == methods
