"""Cloudinary: `X-Cld-Signature` is a digest of body, `X-Cld-Timestamp` and the API secret.

Source: https://cloudinary.com/documentation/notification_signatures
"""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

from service.webhooks.delivery import Delivery, ReadSecret, Refused, Verdict
from service.webhooks.schemes.scheme import (
    Scheme,
    SchemeName,
    from_hex,
    is_same,
    judge_by_secrets,
    refused_by_age,
)

SIGNATURE = "x-cld-signature"
TIMESTAMP = "x-cld-timestamp"

_DIGESTS = {hashlib.sha1().digest_size: hashlib.sha1, hashlib.sha256().digest_size: hashlib.sha256}  # noqa: S324 - the account's choice
"""The hash function by the size of its digest: an account uses SHA-1 or SHA-256."""


@dataclass(frozen=True)
class Cloudinary(Scheme):
    """Notifications of a Cloudinary account, signed with its API secret."""

    secrets: tuple[str, ...]
    max_age_seconds: int

    name: ClassVar[SchemeName] = "cloudinary"

    @property
    def own_headers(self) -> frozenset[str]:
        return frozenset({SIGNATURE, TIMESTAMP})

    def judge(self, delivery: Delivery, read_secret: ReadSecret) -> Verdict:
        text, timestamp = delivery.headers.first(SIGNATURE), delivery.headers.first(TIMESTAMP)
        refused = refused_by_age(timestamp, delivery.utc_seconds, self.max_age_seconds)
        if refused is not None:
            return refused
        if text is None or timestamp is None:
            return Refused("missing")
        given = from_hex(text)
        if given is None or len(given) not in _DIGESTS:
            return Refused("malformed")
        digest = _DIGESTS[len(given)]

        def is_signed_with(secret: str) -> bool:
            return is_same(digest(delivery.body + timestamp + secret.encode()).digest(), given)

        return judge_by_secrets(self.secrets, read_secret, is_signed_with)


def signed(body: bytes, secret: str, utc_seconds: int) -> dict[str, str]:
    """Return the headers with which Cloudinary would send this body."""
    timestamp = str(utc_seconds)
    digest = hashlib.sha256(body + timestamp.encode() + secret.encode()).hexdigest()
    return {TIMESTAMP: timestamp, SIGNATURE: digest}
