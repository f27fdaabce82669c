"""Amazon SNS: each message carries its signature and the URL of the certificate for it.

Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from service.contracts.json_flaw import UNREADABLE
from service.webhooks.delivery import (
    VERIFIED,
    Delivery,
    Handshake,
    KeyWanted,
    ReadSecret,
    Refused,
    Unjudged,
    Verdict,
)
from service.webhooks.schemes.published_keys import is_rsa_signed, rsa_key
from service.webhooks.schemes.scheme import Scheme, SchemeName, from_base64, refused_by_time

AGE_SECONDS_MAX = 3600
"""SNS tries to deliver a message for an hour by default."""

_HOST = r"https://sns\.[a-z0-9-]{1,40}\.amazonaws\.com(?:\.cn)?"
_CERTIFICATE_URL = re.compile(_HOST + r"/SimpleNotificationService-[A-Za-z0-9_-]{1,100}\.pem")
_SUBSCRIBE_URL = re.compile(_HOST + r"/[!-~]{0,2000}")

_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
"""The members that the signature covers, in this order, by the type of the message."""
_OPTIONAL = frozenset({"Subject"})
_DIGESTS: Mapping[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - SNS's version 1
"""The hash function by SignatureVersion."""


@dataclass(frozen=True)
class Sns(Scheme):
    """Messages of listed SNS topics, and the confirmation of their subscriptions."""

    topic_arns: frozenset[str]
    confirms: bool

    name: ClassVar[SchemeName] = "sns"

    def judge(self, delivery: Delivery, read_secret: ReadSecret) -> Verdict | KeyWanted:  # noqa: ARG002
        message = _message(delivery.body)
        if message is None:
            return Refused("malformed")
        refused = self._refused(message, delivery.utc_seconds)
        if refused is not None:
            return refused
        url = message.get("SigningCertURL", "")
        if not _CERTIFICATE_URL.fullmatch(url):
            return Refused("foreign_key")
        return KeyWanted(url, lambda pem: self._judge_with(pem, message))

    def _refused(self, message: Mapping[str, str], utc_seconds: float) -> Refused | None:
        """Return why the message is refused before its signature is looked at."""
        if message.get("Type") not in _SIGNED_MEMBERS or "Signature" not in message:
            return Refused("missing")
        if message.get("TopicArn") not in self.topic_arns:
            return Refused("recipient")
        sent = _utc_seconds(message.get("Timestamp", ""))
        if sent is None:
            return Refused("malformed")
        return refused_by_time(sent, utc_seconds, AGE_SECONDS_MAX)

    def _judge_with(self, pem: bytes | None, message: Mapping[str, str]) -> Verdict:
        key = None if pem is None else rsa_key(pem)
        if key is None:
            return Unjudged("key")
        signature = from_base64(message["Signature"].encode())
        digest = _DIGESTS.get(message.get("SignatureVersion", ""))
        text = _signed_text(message)
        if signature is None or digest is None or text is None:
            return Refused("malformed")
        if not is_rsa_signed(key, signature, text, digest):
            return Refused("mismatch")
        return self._genuine(message)

    def _genuine(self, message: Mapping[str, str]) -> Verdict:
        """Return what a message becomes whose signature verifies."""
        if message["Type"] == "Notification":
            return VERIFIED
        if message["Type"] != "SubscriptionConfirmation" or not self.confirms:
            return Handshake(None)
        url = message["SubscribeURL"]
        return Handshake(url) if _SUBSCRIBE_URL.fullmatch(url) else Refused("foreign_key")


def _message(body: bytes) -> dict[str, str] | None:
    """Return the members of a message that are text; None if the body is not a JSON object."""
    try:
        decoded = msgspec.json.decode(body, type=dict[str, Any])
    except UNREADABLE:
        return None
    return {name: value for name, value in decoded.items() if isinstance(value, str)}


def _signed_text(message: Mapping[str, str]) -> bytes | None:
    """Return the text that the signature covers; None if a member of it is missing."""
    names = _SIGNED_MEMBERS[message["Type"]]
    present = [name for name in names if name in message]
    if {*names} - {*present} - _OPTIONAL:
        return None
    text = "".join(f"{name}\n{message[name]}\n" for name in present)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can escape
        return None


def _utc_seconds(timestamp: str) -> float | None:
    """Return the seconds since 1970 of a time such as `2022-07-28T21:23:58.317Z`."""
    try:
        read = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
