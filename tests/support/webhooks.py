"""Deliveries of all kinds of DAMs, signed with keys that stand for those of Amazon and Adobe."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.webhooks.delivery import Delivery, HeaderFields, KeyWanted, Verdict
from service.webhooks.schemes.scheme import Scheme

NOW = 1_700_000_000.0
"""When the deliveries are received, in seconds since 1970."""

TOPIC_ARN = "arn:aws:sns:eu-west-1:123456789012:bynder"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem"
SUBSCRIBE_URL = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
KEY_PATH = "/prod/keys/pub-key-0123.pem"
KEY_URL = "https://static.adobeioevents.com" + KEY_PATH


def delivery(headers: Mapping[str, str | bytes], body: bytes, utc_seconds: float = NOW) -> Delivery:
    """Return a delivery with these headers."""
    fields = [
        (name.encode(), value.encode() if isinstance(value, str) else value)
        for name, value in headers.items()
    ]
    return Delivery(HeaderFields(fields), body, utc_seconds)


def judged(
    scheme: Scheme,
    given: Delivery,
    secrets: Mapping[str, str] | None = None,
    keys: Mapping[str, bytes] | None = None,
) -> Verdict:
    """Return the verdict, with the keys that are published at these URLs."""
    verdict = scheme.judge(given, (secrets or {}).get)
    while isinstance(verdict, KeyWanted):
        verdict = verdict.judge((keys or {}).get(verdict.url))
    return verdict


@cache
def private_key(number: int = 0) -> RSAPrivateKey:  # noqa: ARG001 - a key for each number
    """Return an RSA key of a test run."""
    return generate_private_key(65537, 2048)


def public_pem(key: RSAPrivateKey) -> bytes:
    """Return the public key as its owner publishes it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sns_message(key: RSAPrivateKey, **members: object) -> bytes:
    """Return a message as SNS sends it, signed after the members were set; None removes one."""
    message: dict[str, object] = {
        "Type": "Notification",
        "MessageId": "m1",
        "TopicArn": TOPIC_ARN,
        "Message": '{"media_id": "1"}',
        "Timestamp": datetime.fromtimestamp(NOW, UTC).isoformat().replace("+00:00", "Z"),
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE_URL,
    }
    if members.get("Type", "Notification") != "Notification":
        message |= {"SubscribeURL": SUBSCRIBE_URL, "Token": "t"}
    message |= members
    message = {name: value for name, value in message.items() if value is not None}
    unsigned = {"Signature", "SignatureVersion", "SigningCertURL", "UnsubscribeURL"}
    text = "".join(f"{name}\n{message[name]}\n" for name in sorted(message.keys() - unsigned))
    digest = SHA1() if message.get("SignatureVersion") == "1" else SHA256()  # noqa: S303 - as SNS
    signature = base64.b64encode(key.sign(text.encode(), PKCS1v15(), digest)).decode()
    return json.dumps({"Signature": signature, **message}).encode()


def adobe_headers(body: bytes, key: RSAPrivateKey, number: int = 1) -> dict[str, str]:
    """Return the headers of one of Adobe's two signatures."""
    signature = base64.b64encode(key.sign(body, PKCS1v15(), SHA256())).decode()
    return {
        f"x-adobe-digital-signature-{number}": signature,
        f"x-adobe-public-key{number}-path": KEY_PATH,
    }
