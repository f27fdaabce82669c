"""Decompress batches in bounded steps, because their decompressed size is not known beforehand.

Rule 1: every piece is small, and only one window of the codec is in memory besides it.
Rule 2: whatever the bytes are, the only exception is `UnpackError`.

Sources: the codecs of Kafka's record batches; RFC 8878 (zstd), RFC 1952 (gzip), the LZ4 frame
format, snappy's format_description.txt, and the block format of snappy-java ("xerial").
"""

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import cramjam
import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
"""The codecs of a batch, as its attributes number them; 0 is none."""
PIECE_BYTES = 256 * 1024
FED_BYTES = 64 * 1024
"""Bytes that a decompressor gets at a time; it keeps a copy of those it has not used."""
ZSTD_WINDOW_LOG = 23
"""8 MiB, which RFC 8878 recommends to every decoder, and which levels up to 19 need."""
ZSTD_WINDOW_LOG_MAX = 27
"""128 MiB, which Kafka's own clients accept, and which level 22 announces."""
LARGE_WINDOW_CONTENT_BYTES_MAX = 32 * 1024 * 1024
_WINDOW_COMPLAINT = "too much memory"
_XERIAL_MARK = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
_SNAPPY_WINDOW_BYTES = 64 * 1024
"""How far back references of snappy's encoders reach, as they work in blocks of this size."""
_LITERAL, _COPY_1, _COPY_2 = 0, 1, 2
_LITERAL_LENGTH_BYTES = 60
"""From this value on, the tag of a literal is followed by one to four bytes of length."""


class UnpackError(Exception):
    """A batch cannot be decompressed; `is_too_large` if it could be with more memory."""

    def __init__(self, message: str, *, is_too_large: bool = False) -> None:
        super().__init__(message)
        self.is_too_large = is_too_large


class _Decompressor(Protocol):
    """The interface that the standard library gave bz2 and lzma."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def unpacked(codec: int, packed: memoryview) -> Iterator[bytes]:
    """Yield the content in pieces of at most `PIECE_BYTES`.

    Raises:
        UnpackError: the bytes are damaged, or need too large a window.
    """
    match codec:
        case 0:
            return _slices(packed)
        case 1:
            return _frames(packed, _Gzip)
        case 2:
            return _snappy(packed)
        case 3:
            return _frames(packed, lz4.frame.LZ4FrameDecompressor)
        case 4:
            return _zstd(packed)
        case _:
            raise UnpackError(f"The compression codec {codec} is unknown.")


def _slices(packed: memoryview) -> Iterator[bytes]:
    for begin in range(0, len(packed), PIECE_BYTES):
        yield bytes(packed[begin : begin + PIECE_BYTES])


def _frames(packed: memoryview, new: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """Yield the content of one frame after the other, each by a new decompressor."""
    at = 0
    while at < len(packed):
        decompressor = new()
        while not decompressor.eof:
            fed = packed[at : at + FED_BYTES] if decompressor.needs_input else packed[:0]
            if decompressor.needs_input and not fed:
                raise UnpackError("The compressed data ends too early.")
            at += len(fed)
            try:
                piece = decompressor.decompress(bytes(fed), PIECE_BYTES)
            except (zlib.error, zstd.ZstdError, RuntimeError, EOFError) as error:
                if _WINDOW_COMPLAINT in str(error):
                    raise _WindowError from None
                raise UnpackError(f"The compressed data cannot be read: {error}.") from None
            if piece:
                yield piece
        at -= len(decompressor.unused_data or b"")


class _Gzip:
    """Adapts zlib's decompressor to the interface of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail or data, max_length)


def _zstd(packed: memoryview) -> Iterator[bytes]:
    """Yield content of any size with a window of 8 MiB, and of a bounded size with a larger one.

    A producer that compresses at level 20 or above announces a larger window for every batch, even
    a small one. A window takes only the memory of the content that was written into it.
    """
    produced = 0
    try:
        for piece in _frames(packed, _zstd_of(ZSTD_WINDOW_LOG)):
            produced += len(piece)
            yield piece
    except _WindowError:
        if produced:
            raise
        for piece in _frames(packed, _zstd_of(ZSTD_WINDOW_LOG_MAX)):
            produced += len(piece)
            if produced > LARGE_WINDOW_CONTENT_BYTES_MAX:
                raise
            yield piece


class _WindowError(UnpackError):
    def __init__(self) -> None:
        super().__init__(
            "It is compressed by zstd with a window of more than "
            f"{1 << ZSTD_WINDOW_LOG >> 20} MiB, and its content is larger than "
            f"{LARGE_WINDOW_CONTENT_BYTES_MAX >> 20} MiB.",
            is_too_large=True,
        )


def _zstd_of(window_log: int) -> Callable[[], _Decompressor]:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: window_log}
    return lambda: zstd.ZstdDecompressor(options=options)


def _snappy(packed: memoryview) -> Iterator[bytes]:
    if bytes(packed[: len(_XERIAL_MARK)]) != _XERIAL_MARK:
        yield from _raw_snappy(packed)
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(packed):
        begin = at + 4
        at = begin + int.from_bytes(packed[at:begin], "big")
        if at > len(packed):
            raise UnpackError("The compressed data ends too early.")
        yield from _raw_snappy(packed[begin:at])


def _raw_snappy(packed: memoryview) -> Iterator[bytes]:
    """Yield the content of a snappy block: at once if it is small, else some tags at a time.

    Some tags become a block of their own when the bytes to which they may refer are put before them
    as a literal.
    """
    length, at = _snappy_length(packed)
    if length <= PIECE_BYTES:
        yield _whole_snappy(packed)
        return
    window = b""
    while at < len(packed):
        begin, made = at, 0
        while at < len(packed) and made < PIECE_BYTES - _SNAPPY_WINDOW_BYTES:
            end, more = _next_tag(packed, at)
            if more > _SNAPPY_WINDOW_BYTES:
                break
            at, made = end, made + more
        if made:
            before = _literal(window)
            header = _snappy_varint(len(window) + made)
            block = b"".join((header, before, packed[begin:at]))
            piece = _whole_snappy(block)[len(window) :]
            window = (window + piece)[-_SNAPPY_WINDOW_BYTES:]
            yield piece
        else:  # a literal of any length, which the packed data contains as it is
            at, more = _next_tag(packed, at)
            if at > len(packed):
                raise UnpackError("The compressed data ends too early.")
            window = bytes(packed[at - _SNAPPY_WINDOW_BYTES : at])
            yield from _slices(packed[at - more : at])


def _whole_snappy(block: bytes | memoryview) -> bytes:
    try:
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise UnpackError(f"The compressed data cannot be read: {error}.") from None


def _next_tag(packed: memoryview, at: int) -> tuple[int, int]:
    """Return where the tag ends (with its literal), and how many bytes it produces."""
    try:
        tag = packed[at]
        kind = tag & 3
        if kind == _COPY_2:
            return at + 3, (tag >> 2) + 1
        if kind == _COPY_1:
            return at + 2, ((tag >> 2) & 7) + 4
        if kind != _LITERAL:
            return at + 5, (tag >> 2) + 1
        size = tag >> 2
        begin = at + 1
        if size >= _LITERAL_LENGTH_BYTES:
            begin += size - _LITERAL_LENGTH_BYTES + 1
            size = int.from_bytes(packed[at + 1 : begin], "little")
    except IndexError:
        raise UnpackError("The compressed data ends too early.") from None
    return begin + size + 1, size + 1


def _literal(content: bytes) -> bytes:
    """Return the tag that produces this content (at most 64 KiB)."""
    if not content:
        return b""
    return b"\xf4" + (len(content) - 1).to_bytes(2, "little") + content


def _snappy_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def _snappy_length(packed: memoryview) -> tuple[int, int]:
    """Return the length of the content as a block announces it, and where its tags begin."""
    length = 0
    for at in range(min(5, len(packed))):
        length |= (packed[at] & 0x7F) << (7 * at)
        if packed[at] < 0x80:
            return length, at + 1
    raise UnpackError("The compressed data has no length.")
