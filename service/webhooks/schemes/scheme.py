"""What all schemes have in common: their interface, constant-time comparison, rotation, age."""

import base64
import binascii
import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from service.contracts.text import natural_number
from service.webhooks.delivery import (
    VERIFIED,
    Delivery,
    KeyWanted,
    ReadSecret,
    Refused,
    Unjudged,
    Verdict,
)

SchemeName = Literal["cloudinary", "sns", "adobe", "standard", "hmac", "token", "none"]

AHEAD_SECONDS_MAX = 300
"""How far a sender's clock may be ahead."""


class Scheme(ABC):
    """A way in which a DAM proves that a request comes from it."""

    name: ClassVar[SchemeName]

    @property
    def own_headers(self) -> frozenset[str]:
        """Headers in lower case that carry signatures or secrets; they never reach a topic."""
        return frozenset()

    @abstractmethod
    def judge(self, delivery: Delivery, read_secret: ReadSecret) -> Verdict | KeyWanted:
        """Return whether the delivery is genuine, or the key that has to be known first."""

    def flaw_of(self, secret: str) -> str | None:  # noqa: ARG002 - most use any secret
        """Return why this secret verifies nothing, as the end of a sentence; None if it may."""
        return None

    def answer_to_get(self, query: str) -> bytes | None:  # noqa: ARG002 - most answer no GET
        """Return the JSON that answers a GET with this query; None if a GET is not allowed."""
        return None


def judge_by_secrets(
    names: Sequence[str], read_secret: ReadSecret, is_signed_with: Callable[[str], bool]
) -> Verdict:
    """Return `Verified` if one of the secrets verifies: several names are a rotation.

    Without a match, a secret that cannot be read, or not be used (ValueError), leaves the question
    open.
    """
    is_complete = True
    for name in names:
        secret = read_secret(name)
        try:
            if secret and is_signed_with(secret):
                return VERIFIED
        except ValueError:
            secret = None
        is_complete = is_complete and bool(secret)
    return Refused("mismatch") if is_complete else Unjudged("secret")


def refused_by_age(
    timestamp: bytes | None, utc_seconds: float, age_seconds_max: float
) -> Refused | None:
    """Return why a timestamp in seconds since 1970 is refused; None if it is recent enough."""
    if timestamp is None:
        return Refused("missing")
    sent = natural_number(timestamp.decode("latin-1"))
    if sent is None:
        return Refused("malformed")
    return refused_by_time(sent, utc_seconds, age_seconds_max)


def refused_by_time(sent: float, utc_seconds: float, age_seconds_max: float) -> Refused | None:
    """Return why a time in seconds since 1970 is refused; None if it is recent enough."""
    if utc_seconds - sent > age_seconds_max:
        return Refused("too_old")
    return Refused("too_new") if sent - utc_seconds > AHEAD_SECONDS_MAX else None


def is_same(one: bytes, other: bytes) -> bool:
    """Compare in a time that does not tell where the two differ."""
    return hmac.compare_digest(one, other)


def from_base64(text: bytes) -> bytes | None:
    """Return the bytes that the base64 text denotes; None if it is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def from_hex(text: bytes) -> bytes | None:
    """Return the bytes that the hexadecimal digits denote; None for any other text."""
    try:
        return binascii.unhexlify(text)
    except binascii.Error:
        return None
