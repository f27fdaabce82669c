"""The offsets settled above a watermark, as text for the commit metadata (architecture.md D3).

`as1:` and the base64 of a raw bitmap: bit i of byte i // 8 is the offset watermark + i.
Nothing settled above is the empty text. Anything else is refused, never taken for empty:
a map misread would repeat outcomes.
"""

import base64
import binascii
from collections.abc import Collection

TAG = "as1:"
ZERO, ONE = b"0", ord("1")


class OffsetMapError(ValueError):
    """Commit metadata that asset-sync did not write."""


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


def encode(settled: int) -> str:
    """The map of a bitmap on the watermark."""
    if not settled:
        return ""
    raw = settled.to_bytes((settled.bit_length() + 7) // 8, "little")
    return TAG + base64.b64encode(raw).decode("ascii")


def decode(watermark: int, metadata: str) -> frozenset[int]:
    """The offsets that were encoded on this watermark.

    Raises:
        OffsetMapError: the metadata is not ours.
    """
    if not metadata:
        return frozenset()
    if not metadata.startswith(TAG):
        raise OffsetMapError(f"the commit metadata {metadata[:40]!r} is not asset-sync's")
    try:
        raw = base64.b64decode(metadata[len(TAG) :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise OffsetMapError(f"the offset map {metadata[:40]!r} is damaged: {error}") from error
    return frozenset(
        watermark + 8 * index + bit
        for index, byte in enumerate(raw)
        if byte
        for bit in range(8)
        if byte >> bit & 1
    )
