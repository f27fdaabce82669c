"""The offsets settled above a watermark, as text for the commit metadata (design D3).

`as1:` and the base64 of a raw bitmap: bit i of byte i // 8 is the offset watermark + i.
Nothing settled above is the empty text. Anything else is refused, never taken for empty:
a map misread would repeat outcomes.
"""

import base64
import binascii
from collections.abc import Iterable

TAG = "as1:"
ZERO, ONE = b"0", ord("1")


class OffsetMapError(ValueError):
    """Commit metadata that asset-sync did not write."""


def encode(watermark: int, settled: Iterable[int]) -> str:
    """The map of `settled` offsets, all above `watermark`."""
    settled = list(settled)
    if not settled:
        return ""
    assert min(settled) >= watermark
    size = (max(settled) - watermark) // 8 + 1
    last = watermark + 8 * size - 1
    # As a number in text, the highest offset first: C reads it faster than a loop sets bits.
    digits = bytearray(ZERO * (8 * size))
    for offset in settled:
        digits[last - offset] = ONE
    raw = int(digits, 2).to_bytes(size, "little")
    return TAG + base64.b64encode(raw).decode("ascii")


def decode(watermark: int, metadata: str) -> frozenset[int]:
    """The offsets that `encode` was given.

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
