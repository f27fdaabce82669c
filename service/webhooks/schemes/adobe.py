"""Adobe I/O Events: one of two signatures of the body verifies with a key that Adobe publishes.

Source: https://developer.adobe.com/events/docs/guides/#security-considerations
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qs

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256

from service.contracts.json_flaw import UNREADABLE
from service.webhooks.delivery import (
    VERIFIED,
    Delivery,
    HeaderFields,
    KeyWanted,
    ReadSecret,
    Refused,
    Unjudged,
    Verdict,
)
from service.webhooks.schemes.published_keys import is_rsa_signed, rsa_key
from service.webhooks.schemes.scheme import Scheme, SchemeName, from_base64, is_same

KEYS_URL = "https://static.adobeioevents.com"
SIGNATURES = ("x-adobe-digital-signature-1", "x-adobe-digital-signature-2")
KEY_PATHS = ("x-adobe-public-key1-path", "x-adobe-public-key2-path")
RECIPIENTS = ("recipient_client_id", "recipientclientid")
"""The members with the client id: of Adobe's own format, and of CloudEvents."""

_KEY_PATH = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){1,8}")


@dataclass(frozen=True, slots=True)
class _Signature:
    """A signature, and the URL of the key for it."""

    digest: bytes
    key_url: str


@dataclass(frozen=True)
class Adobe(Scheme):
    """Events for one Adobe project, and the challenge that registers its webhook."""

    client_id: str

    name: ClassVar[SchemeName] = "adobe"

    @property
    def own_headers(self) -> frozenset[str]:
        return frozenset({*SIGNATURES, *KEY_PATHS})

    def judge(self, delivery: Delivery, read_secret: ReadSecret) -> Verdict | KeyWanted:  # noqa: ARG002
        signatures = _signatures(delivery.headers)
        if isinstance(signatures, Refused):
            return signatures
        recipient = _recipient(delivery.body)
        if recipient is None or not is_same(recipient.encode(), self.client_id.encode()):
            return Refused("recipient")
        return _judge_by(signatures, delivery.body, Refused("mismatch"))

    def answer_to_get(self, query: str) -> bytes | None:
        """Return the challenge of the query, by which Adobe knows that the webhook is wanted."""
        challenges = parse_qs(query).get("challenge")
        return msgspec.json.encode({"challenge": challenges[0]}) if challenges else None


def _judge_by(
    signatures: Sequence[_Signature], body: bytes, otherwise: Verdict
) -> Verdict | KeyWanted:
    """Return the verdict by the first signature that verifies, or `otherwise`."""
    if not signatures:
        return otherwise
    first, *others = signatures

    def judge(pem: bytes | None) -> Verdict | KeyWanted:
        key = None if pem is None else rsa_key(pem)
        if key is None:
            return _judge_by(others, body, Unjudged("key"))
        if is_rsa_signed(key, first.digest, body, SHA256()):
            return VERIFIED
        return _judge_by(others, body, otherwise)

    return KeyWanted(first.key_url, judge)


def _signatures(headers: HeaderFields) -> list[_Signature] | Refused:
    """Return the signatures that can be read, or why there are none."""
    why = Refused("missing")
    found = []
    for signature_name, path_name in zip(SIGNATURES, KEY_PATHS, strict=True):
        text, path = headers.first(signature_name), headers.first(path_name)
        if text is None or path is None:
            continue
        digest = from_base64(text)
        if digest is None:
            why = Refused("malformed")
        elif not _KEY_PATH.fullmatch(path.decode("latin-1")):
            why = Refused("foreign_key")
        else:
            found.append(_Signature(digest, KEYS_URL + path.decode("ascii")))
    return found or why


def _recipient(body: bytes) -> str | None:
    """Return the client id that the event is meant for; None if it names none."""
    try:
        event = msgspec.json.decode(body, type=dict[str, Any])
    except UNREADABLE:
        return None
    named = [event[name] for name in RECIPIENTS if isinstance(event.get(name), str)]
    return named[0] if named else None
