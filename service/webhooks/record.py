"""The record that a verified delivery becomes: its body byte for byte, and a few headers.

Rule 1: credentials, cookies and signatures never reach a topic.
Rule 2: the same delivery twice is two records, since only a reader can tell whether it matters.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from service.webhooks.delivery import Delivery
from service.webhooks.schemes.scheme import SchemeName

KEY_CHARACTERS_MAX = 255
"""A longer identity is not used as key; the source's name takes its place."""

NEVER_KEPT = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "www-authenticate"}
)
"""Headers in lower case that hold credentials, whatever the sources file lists."""

CONTENT_TYPE = "content-type"
_CLOUD_EVENT = "ce-"

Kept = frozenset[str]
"""Names in lower case of the headers that the sources file lists."""

RecordHeaders = tuple[tuple[str, bytes], ...]

Identity = Callable[[bytes, RecordHeaders], str | None]
"""Reads the asset's identity from value and headers of a record; None if there is none."""


class IngressRecord(NamedTuple):
    """A record for a raw topic."""

    topic: str
    key: bytes
    value: bytes
    headers: RecordHeaders


def headers_of(delivery: Delivery, source: str, verified: SchemeName, kept: Kept) -> RecordHeaders:
    """Return the headers of the record for a delivery."""
    headers = [
        ("ingress.source", source.encode()),
        ("ingress.received_at", _rfc3339(delivery.utc_seconds)),
        ("ingress.verified", verified.encode()),
    ]
    for name, values in delivery.headers.items():
        if name == CONTENT_TYPE or name in kept:
            headers += [(name, value) for value in values]
        elif name.startswith(_CLOUD_EVENT):
            attribute = "ce_" + name.removeprefix(_CLOUD_EVENT)
            headers += [(attribute, _attribute_value(value)) for value in values]
    return tuple(headers)


def key_of(source: str, identity: str) -> bytes:
    """Return the key of the record: the identity, or the source where that is empty or too long."""
    is_usable = bool(identity) and len(identity) <= KEY_CHARACTERS_MAX
    return (identity if is_usable else source).encode("utf-8", "replace")


def _attribute_value(value: bytes) -> bytes:
    """Return the value of a CloudEvents attribute, which HTTP percent-encodes and Kafka does not.

    A value whose escapes are not UTF-8 stays as it is.
    """
    if b"%" not in value:
        return value
    decoded = unquote_to_bytes(value)
    try:
        decoded.decode()
    except UnicodeDecodeError:
        return value
    return decoded


def _rfc3339(utc_seconds: float) -> bytes:
    whole = int(utc_seconds)
    return b"%s.%03d+00:00" % (_second(whole), (utc_seconds - whole) * 1000)


@lru_cache(1)
def _second(utc_seconds: int) -> bytes:
    """Return the time without fraction and offset; many requests share a second."""
    return datetime.fromtimestamp(utc_seconds, UTC).replace(tzinfo=None).isoformat().encode()
