"""The offsets committed above a watermark, as the metadata of a committed position.

The format is `as2:WATERMARK:TOPIC_ID:CHECK:BITMAP`. Offset watermark + i is bit i % 8 of byte
i // 8 of the bitmap, which is in base64 and may be empty. CHECK is a checksum of all of this and of
the owner: the cluster, group, topic and partition that the map was written for.

Rule 1: a map is used only on the position that it was written for, because positions are moved and
copied, with or without their metadata (by MirrorMaker, kafka-consumer-groups or an operator).
Rule 2: metadata that asset-sync did not write is refused, and never taken for an empty map.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Collection

from service.core.model import UNBOUND, Binding

TAG = "as2:"
UNBOUND_TAG = "as1:"
"""Tag of the former format, a bitmap alone, which is still read during an upgrade."""
ZERO, ONE = b"0", ord("1")

_FIELDS = re.compile(r"as2:(\d{1,19}):([\w-]*):([0-9a-f]{8}):(.*)", re.ASCII)
_LATER = re.compile(r"as\d+:")


class OffsetMapError(ValueError):
    """The commit metadata is not an offset map: asset-sync did not write it."""


class MisplacedMapError(OffsetMapError):
    """The offset map does not belong to the position with which it is committed."""


class RecreatedTopicError(MisplacedMapError):
    """The position and its offset map belong to an earlier topic of this name."""


def bitmap(base: int, offsets: Collection[int]) -> int:
    """Return the number in which bit i stands for offset base + i."""
    if not offsets:
        return 0
    assert min(offsets) >= base
    last = max(offsets)
    # Parsing binary digits, the highest offset first, is faster than setting bits in a loop.
    digits = bytearray(ZERO * (last - base + 1))
    for offset in offsets:
        digits[last - offset] = ONE
    return int(digits, 2)


def encode(watermark: int, above: int, binding: Binding = UNBOUND) -> str:
    """Return the metadata of a position: the bitmap of offsets committed above, and its binding."""
    if not above and binding == UNBOUND:
        return ""
    raw = above.to_bytes((above.bit_length() + 7) // 8, "little")
    text = base64.b64encode(raw).decode("ascii")
    check = _check(watermark, text, binding)
    return f"{TAG}{watermark}:{binding.topic_id}:{check}:{text}"


def is_empty(metadata: str) -> bool:
    """Return whether metadata written by `encode` names no offset above its position."""
    return not metadata or metadata.endswith(":")


def decode(watermark: int, metadata: str, binding: Binding = UNBOUND) -> frozenset[int]:
    """Return the offsets committed above a position, from its metadata.

    Raises:
        MisplacedMapError: the map belongs to another position, or to another topic, partition,
            group or cluster.
        RecreatedTopicError: it belongs to an earlier topic of this name, and so does the position.
        OffsetMapError: asset-sync did not write the metadata, or a later release did.
    """
    if not metadata:
        return frozenset()
    if metadata.startswith(UNBOUND_TAG):
        return _offsets(watermark, metadata.removeprefix(UNBOUND_TAG), metadata)
    if metadata.startswith(TAG):
        return _offsets(watermark, _bound(watermark, metadata, binding), metadata)
    if _LATER.match(metadata):
        raise OffsetMapError(
            f"a later release of asset-sync wrote the commit metadata {metadata[:40]!r}; "
            "run that release"
        )
    raise OffsetMapError(f"the commit metadata {metadata[:40]!r} is not asset-sync's")


def _bound(watermark: int, metadata: str, binding: Binding) -> str:
    """Return the bitmap's text, after checking that the map belongs to this position."""
    fields = _FIELDS.fullmatch(metadata)
    if fields is None:
        raise MisplacedMapError("its offset map is damaged")
    position, topic_id, check, text = int(fields[1]), fields[2], fields[3], fields[4]
    if check != _check(position, text, Binding(binding.owner, topic_id)):
        raise MisplacedMapError(
            "its offset map was written for another topic, partition, group or cluster, "
            "or was changed since"
        )
    if topic_id and binding.topic_id and topic_id != binding.topic_id:
        raise RecreatedTopicError("it belongs to an earlier topic of this name")
    if position != watermark:
        raise MisplacedMapError(f"its offset map was written for position {position}")
    return text


def _check(watermark: int, text: str, binding: Binding) -> str:
    content = f"{binding.owner}\n{watermark}\n{binding.topic_id}\n{text}"
    return f"{zlib.crc32(content.encode()):08x}"


def _offsets(watermark: int, text: str, metadata: str) -> frozenset[int]:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise OffsetMapError(f"the offset map {metadata[:40]!r} is damaged: {error}") from error
    return frozenset(
        watermark + 8 * index + bit
        for index, byte in enumerate(raw)
        if byte
        for bit in range(8)
        if byte >> bit & 1
    )
