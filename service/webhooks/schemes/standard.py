"""Standard Webhooks: `webhook-id`, `webhook-timestamp` and `webhook-signature`.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
Senders that use Svix begin the names with `svix-`, unless they were told otherwise
(https://docs.svix.com/receiving/verifying-payloads/how-manual).

Rule 1: a secret `whsec_…` verifies signatures `v1` (HMAC-SHA256), and a public key `whpk_…`
verifies signatures `v1a` (Ed25519). A secret without prefix is one for `v1`.
Rule 2: one matching signature of the list is enough; those of other versions are ignored.
"""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from service.webhooks.delivery import Delivery, HeaderFields, ReadSecret, Refused, Verdict
from service.webhooks.schemes.scheme import (
    Scheme,
    SchemeName,
    from_base64,
    is_same,
    judge_by_secrets,
    refused_by_age,
)

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
NAMES = ((ID, TIMESTAMP, SIGNATURE), ("svix-id", "svix-timestamp", "svix-signature"))
"""The three headers as each kind of sender names them."""
SECRET_PREFIX, PUBLIC_KEY_PREFIX = "whsec_", "whpk_"
SIGNATURES_MAX = 20
"""How many signatures of a request are tried; a rotation needs two."""


@dataclass(frozen=True)
class Standard(Scheme):
    """The scheme that many senders share."""

    secrets: tuple[str, ...]
    max_age_seconds: int

    name: ClassVar[SchemeName] = "standard"

    @property
    def own_headers(self) -> frozenset[str]:
        return frozenset(signature for _, _, signature in NAMES)

    def flaw_of(self, secret: str) -> str | None:
        try:
            if secret.startswith(PUBLIC_KEY_PREFIX):
                _public_key(secret)
            else:
                _key(secret, SECRET_PREFIX)
        except ValueError:
            return "is neither whsec_… nor whpk_… with a key in base64"
        return None

    def judge(self, delivery: Delivery, read_secret: ReadSecret) -> Verdict:
        headers = delivery.headers
        message_id, timestamp, given = map(headers.first, _names_in(headers))
        if not message_id or not timestamp or not given:
            return Refused("missing")
        refused = refused_by_age(timestamp, delivery.utc_seconds, self.max_age_seconds)
        if refused is not None:
            return refused
        signatures = _signatures(given)
        if not any(signatures.values()):
            return Refused("malformed")
        signed_text = b".".join((message_id, timestamp, delivery.body))

        def is_signed_with(secret: str) -> bool:
            if secret.startswith(PUBLIC_KEY_PREFIX):
                return _is_signed_by(secret, signed_text, signatures[b"v1a"])
            wanted = _hmac(secret, signed_text)
            return any(is_same(wanted, signature) for signature in signatures[b"v1"])

        return judge_by_secrets(self.secrets, read_secret, is_signed_with)


def _names_in(headers: HeaderFields) -> tuple[str, str, str]:
    """Return the names that this sender uses: those of one kind, never a mixture."""
    return next((names for names in NAMES if headers.first(names[-1])), NAMES[0])


def _signatures(header: bytes) -> dict[bytes, list[bytes]]:
    """Return the signatures of a header by version, without what cannot be read."""
    found: dict[bytes, list[bytes]] = {b"v1": [], b"v1a": []}
    for part in header.split(b" ")[:SIGNATURES_MAX]:
        version, _, text = part.partition(b",")
        signature = from_base64(text)
        if version in found and signature:
            found[version].append(signature)
    return found


def _is_signed_by(public_key: str, signed_text: bytes, signatures: Sequence[bytes]) -> bool:
    """Return whether one of the Ed25519 signatures verifies.

    Raises:
        ValueError: the public key cannot be used.
    """
    key = _public_key(public_key)
    for signature in signatures:
        try:
            key.verify(signature, signed_text)
        except InvalidSignature:
            continue
        return True
    return False


def _public_key(text: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(_key(text, PUBLIC_KEY_PREFIX))


def _hmac(secret: str, signed_text: bytes) -> bytes:
    return hmac.digest(_key(secret, SECRET_PREFIX), signed_text, "sha256")


def _key(secret: str, prefix: str) -> bytes:
    """Return the key that a secret denotes in base64, with or without padding.

    Raises:
        ValueError: it is not base64, or empty.
    """
    text = secret.removeprefix(prefix).rstrip("=")
    key = from_base64(text.encode() + b"=" * (-len(text) % 4))
    if not key:
        raise ValueError("the secret is not base64")
    return key


def signed(body: bytes, secret: str, message_id: str, utc_seconds: int) -> dict[str, str]:
    """Return the headers with which a sender would send this body.

    Raises:
        ValueError: the secret cannot sign, because it is a public key or not base64.
    """
    if secret.startswith(PUBLIC_KEY_PREFIX):
        raise ValueError("a public key cannot sign")
    timestamp = str(utc_seconds)
    digest = _hmac(secret, b".".join((message_id.encode(), timestamp.encode(), body)))
    signature = base64.b64encode(digest).decode("ascii")
    return {ID: message_id, TIMESTAMP: timestamp, SIGNATURE: f"v1,{signature}"}
