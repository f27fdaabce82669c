"""The offsets settled above a watermark, as the commit metadata of that position.

`as2:WATERMARK:TOPIC_ID:CHECK:BITMAP`. Bit i of byte i // 8 of the bitmap (base64) is the offset
watermark + i; without settled offsets the bitmap is empty. CHECK is a checksum of all of this and
of the owner: the cluster, group, topic and partition that it was written for.

Rule 1: a map is used on the position that it was written for, and on no other. Positions are moved
and copied, with their metadata or without (MirrorMaker, kafka-consumer-groups, an operator).
Rule 2: what asset-sync did not write is refused, never taken for an empty map.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Collection

from service.core.model import UNBOUND, Binding

TAG = "as2:"
UNBOUND_TAG = "as1:"
"""Of releases before this one: a bitmap alone. A position is read in it during an upgrade."""
ZERO, ONE = b"0", ord("1")

_FIELDS = re.compile(r"as2:(\d{1,19}):([\w-]*):([0-9a-f]{8}):(.*)", re.ASCII)
_LATER = re.compile(r"as\d+:")


class OffsetMapError(ValueError):
    """Commit metadata that cannot be used as an offset map: asset-sync did not write it."""


class MisplacedMapError(OffsetMapError):
    """An offset map of asset-sync's that does not belong to the position on which it stands."""


class RecreatedTopicError(MisplacedMapError):
    """The position and its map belong to an earlier topic of this name."""


def bitmap(base: int, offsets: Collection[int]) -> int:
    """The number whose bit i is the offset base + i."""
    if not offsets:
        return 0
    assert min(offsets) >= base
    last = max(offsets)
    # As a number in text, the highest offset first: C reads it faster than a loop sets bits.
    digits = bytearray(ZERO * (last - base + 1))
    for offset in offsets:
        digits[last - offset] = ONE
    return int(digits, 2)


def encode(watermark: int, settled: int, binding: Binding = UNBOUND) -> str:
    """The metadata of a position: the bitmap of what is settled above, bound to the position."""
    if not settled and binding == UNBOUND:
        return ""
    raw = settled.to_bytes((settled.bit_length() + 7) // 8, "little")
    text = base64.b64encode(raw).decode("ascii")
    check = _check(watermark, text, binding)
    return f"{TAG}{watermark}:{binding.topic_id}:{check}:{text}"


def decode(watermark: int, metadata: str, binding: Binding = UNBOUND) -> frozenset[int]:
    """The offsets that are settled above a position, as its metadata says.

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
    """The bitmap's text, once it is proven to belong here."""
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
