"""Whatever a stranger sends, a scheme returns a verdict, and never that it is genuine."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.webhooks.delivery import Delivery, HeaderFields, KeyWanted, Refused, Unjudged
from service.webhooks.record import headers_of, key_of
from service.webhooks.schemes import cloudinary, standard
from service.webhooks.schemes.adobe import Adobe
from service.webhooks.schemes.body_hmac import BodyHmac
from service.webhooks.schemes.cloudinary import Cloudinary
from service.webhooks.schemes.scheme import Scheme
from service.webhooks.schemes.sns import Sns
from service.webhooks.schemes.standard import Standard
from service.webhooks.schemes.token import Token
from tests.support.webhooks import (
    NOW,
    TOPIC_ARN,
    adobe_headers,
    private_key,
    public_pem,
    sns_message,
)

BODY = b'{"recipient_client_id": "c"}'
SECRET = "whsec_c2VjcmV0"
HMAC = BodyHmac("x-hub-signature-256", ("s",), "sha256", "hex", "sha256=")
HMAC_64 = BodyHmac("x-hmac", ("s",), "sha1", "base64", "")
TOKEN = Token("authorization", ("s",))

GENUINE: list[tuple[Scheme, Mapping[str, str], bytes]] = [
    (Cloudinary(("s",), 7200), cloudinary.signed(BODY, SECRET, int(NOW)), BODY),
    (Standard(("s",), 300), standard.signed(BODY, SECRET, "m", int(NOW)), BODY),
    (HMAC, HMAC.signed(BODY, SECRET), BODY),
    (HMAC_64, HMAC_64.signed(BODY, SECRET), BODY),
    (TOKEN, TOKEN.signed(SECRET), BODY),
    (Sns(frozenset({TOPIC_ARN}), confirms=True), {}, sns_message(private_key())),
    (Adobe("c"), adobe_headers(BODY, private_key()), BODY),
]

KEYS = st.sampled_from([None, b"", public_pem(private_key()), public_pem(private_key(1))])
VALUES = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"v1,", b"v1,AAAA", b"v1a,AAAA", b"Basic ", b"Basic dTpw", b"0", b"9" * 30]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def verdict_of(scheme: Scheme, delivery: Delivery, keys: list[bytes | None]) -> object:
    """Return the verdict, with these keys for those that are asked for, one after another."""
    verdict = scheme.judge(delivery, {"s": SECRET}.get)
    while isinstance(verdict, KeyWanted):
        verdict = verdict.judge(keys.pop() if keys else None)
    return verdict


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "headers", "body"), GENUINE, ids=map(str, range(len(GENUINE))))
@given(data=st.data())
def test_a_changed_delivery_is_refused(
    scheme: Scheme, headers: Mapping[str, str], body: bytes, data: st.DataObject
) -> None:
    """Headers are replaced and the body is cut, changed or another one."""
    names = st.sampled_from(sorted({*scheme.own_headers, *headers, "webhook-id", "x-other"}))
    changed = data.draw(st.dictionaries(names, VALUES))
    fields = {name.encode(): value.encode() for name, value in headers.items()}
    fields |= {name.encode(): value for name, value in changed.items()}
    cut = data.draw(st.integers(0, len(body)))
    other = data.draw(
        st.one_of(
            st.binary(max_size=100).map(lambda extra: body[:cut] + extra),
            st.dictionaries(st.sampled_from(_members(body)), JSON).map(
                lambda members: json.dumps({**json.loads(body), **members}).encode()
            ),
        )
    )
    delivery = Delivery(HeaderFields(fields.items()), other, NOW)

    verdict = verdict_of(scheme, delivery, data.draw(st.lists(KEYS, max_size=3)))

    is_as_sent = other == body and not any(
        headers.get(name, "").encode() != value for name, value in changed.items()
    )
    if scheme is not TOKEN and not is_as_sent and json_of(other) != json_of(body):
        assert isinstance(verdict, Refused | Unjudged)


def _members(body: bytes) -> list[str]:
    return sorted(json.loads(body))


def json_of(body: bytes) -> object:
    """Return the value of a body; the bytes themselves if they are not JSON."""
    try:
        return json.loads(body)
    except ValueError:
        return body


@given(
    fields=st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from([b"Content-Type", b"ce-id", b"ce-", b"X-Kept", b"Cookie"]),
                st.from_regex(rb"[a-z-]{1,10}", fullmatch=True),
            ),
            VALUES,
        )
    ),
    identity=st.text(max_size=300),
)
def test_every_verified_delivery_becomes_a_record(
    fields: list[tuple[bytes, bytes]], identity: str
) -> None:
    delivery = Delivery(HeaderFields(fields), b"", NOW)
    headers = headers_of(delivery, "bynder", "hmac", frozenset({"x-kept"}))

    assert headers[:3] == (
        ("ingress.source", b"bynder"),
        ("ingress.received_at", b"2023-11-14T22:13:20.000+00:00"),
        ("ingress.verified", b"hmac"),
    )
    names = {name for name, _ in headers[3:]}
    assert all(n in {"content-type", "x-kept"} or n.startswith("ce_") for n in names)
    assert key_of("bynder", identity)
