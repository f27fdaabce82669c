"""What a verified delivery leaves on its record, and what never reaches a topic."""

from http import HTTPStatus

import pytest

from service.mapping.file.webhook import Webhook
from service.webhooks.delivery import VERIFIED, Delivery, HeaderFields
from service.webhooks.endpoint import Endpoint, by_path, endpoint_of
from service.webhooks.head import HEADER_BYTES_MAX, Answer, Head, answer_to_head
from service.webhooks.record import headers_of, key_of
from service.webhooks.signing import NotSignableError, sign
from tests.support.webhooks import NOW, delivery, judged

HMAC = {"hmac": {"header": "X-Signature", "secret": "s"}}


def endpoint(**given: object) -> Endpoint:
    """Return the endpoint of a webhook in the sources file."""
    webhook = {"path": "/bynder", "verify": HMAC} | given
    return endpoint_of("bynder", Webhook.model_validate(webhook), "dam.bynder", lambda *_: "a1")


def kept(fields: list[tuple[bytes, bytes]], made: Endpoint) -> list[tuple[str, bytes]]:
    """Return the headers of the record that come from the request."""
    given = Delivery(HeaderFields(fields), b"", NOW)
    return list(headers_of(given, "bynder", "hmac", made.kept))[3:]


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


def test_the_value_is_the_body_byte_for_byte() -> None:
    """A signature covers it, and so may whoever reads the topic."""
    body = b' \xef\xbb\xbf{"id": "a"}\r\n\x00'
    assert endpoint().record_for(Delivery(HeaderFields([]), body, NOW)).value == body


def test_an_endpoint_is_found_by_its_path() -> None:
    other = endpoint(path="/b", topic="dam.other")
    assert by_path([endpoint(), other])["/b"].topic == "dam.other"
    assert endpoint().topic == "dam.bynder"


@pytest.mark.parametrize(
    ("verify", "methods"), [({"adobe": {"client_id": "c"}}, "GET, POST"), (HMAC, "POST")]
)
def test_the_methods_of_an_endpoint(verify: dict[str, object], methods: str) -> None:
    assert endpoint(verify=verify).methods == methods


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (("POST", "/other", "", []), Answer(HTTPStatus.NOT_FOUND)),
        (("GET", "/bynder", "", []), Answer(HTTPStatus.METHOD_NOT_ALLOWED, allow="POST")),
        (("POST", "/bynder", "x=1", []), None),
        (("POST", "/bynder", "", [(b"X", b"y" * HEADER_BYTES_MAX)]), Answer(HTTPStatus(431))),
        (("POST", "/bynder", "", [(b"Content-Encoding", b"gzip")]), Answer(HTTPStatus(400))),
        (("POST", "/bynder", "", [(b"Content-Encoding", b" Identity ")]), None),
        (("POST", "/bynder", "", [(b"Content-Length", b"100")]), None),
        (("POST", "/bynder", "", [(b"Content-Length", b"101")]), Answer(HTTPStatus(413))),
        (("POST", "/bynder", "", [(b"Content-Length", b"9" * 100)]), Answer(HTTPStatus(413))),
        (("POST", "/bynder", "", [(b"Content-Length", b"0" * 5_000)]), None),
        (
            ("POST", "/bynder", "", [(b"Content-Length", b"0" * 5_000 + b"101")]),
            Answer(HTTPStatus(413)),
        ),
        (("POST", "/bynder", "", [(b"Content-Length", b"\xb2")]), None),
        (("POST", "/bynder", "", [(b"Transfer-Encoding", b"Chunked")]), None),
        (
            ("POST", "/bynder", "", [(b"Transfer-Encoding", b"gzip, chunked")]),
            Answer(HTTPStatus(400)),
        ),
    ],
)
def test_the_head_alone_may_be_answered(
    head: tuple[str, str, str, list[tuple[bytes, bytes]]], answer: Answer | None
) -> None:
    """Without an answer, the body belongs to the endpoint."""
    made = endpoint()
    method, path, query, fields = head
    given = Head(method, path, query, HeaderFields(fields))
    found = answer_to_head(given, by_path([made]), 100)
    assert found == (made if answer is None else answer)


SCHEMES = [
    ({"cloudinary": {"secret": "s"}}, True),
    ({"standard": {"secret": "s"}}, True),
    (HMAC, True),
    ({"token": {"header": "X-Token", "secret": ["s", "t"]}}, True),
    ({"none": "I trust the network"}, True),
    ({"sns": {"topics": ["arn"]}}, False),
    ({"adobe": {"client_id": "c"}}, False),
]


@pytest.mark.parametrize(("verify", "is_signable"), SCHEMES, ids=lambda given: str(given)[:12])
def test_a_sample_is_signed_as_the_dam_would(
    verify: dict[str, object], is_signable: object
) -> None:
    """What `webhook send` signs is what the scheme verifies."""
    scheme = endpoint(verify=verify).scheme
    secrets = {"s": "whsec_c2VjcmV0", "t": "whsec_b3RoZXI="}
    if is_signable:
        headers = sign(scheme, b"{}", secrets.get, "m1", int(NOW))
        assert judged(scheme, delivery(headers, b"{}"), secrets) == VERIFIED
    else:
        with pytest.raises(NotSignableError, match="mapping explain"):
            sign(scheme, b"{}", secrets.get, "m1", int(NOW))


@pytest.mark.parametrize("secret", [None, "whpk_AAAA", "whsec_!"])
def test_a_sample_needs_a_secret_that_signs(secret: str | None) -> None:
    scheme = endpoint(verify={"standard": {"secret": "s"}}).scheme
    with pytest.raises(NotSignableError, match="The secret s"):
        sign(scheme, b"{}", {"s": secret}.get, "m1", int(NOW))
