"""One file on its way from the source to the disk, over one connection or several."""

import errno
import zlib
from collections.abc import Iterator

from service.adapters.media.answers import NOT_THE_REST, Body, too_large
from service.adapters.media.folder import NewFile
from service.core.inputs import Downloaded, DownloadEnd, DownloadFault, DownloadRefused

BUFFER_BYTES = 256 * 1024
"""How much of a file is kept in memory before it is written."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Transfer:
    """What has arrived of a file. Memory is constant, whatever the size of the file."""

    def __init__(self, file: NewFile, bytes_max: int) -> None:
        self._file = file
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self._body: Body | None = None
        self._gunzip = _Gunzip()
        self.received = 0
        """Bytes of the body that arrived: where a further connection goes on."""

    @property
    def resumes(self) -> str | None:
        """The ETag with which the rest can be asked for, if the source can send it."""
        return self._body.resumes if self._body is not None and self.received else None

    async def begin(self, body: Body) -> DownloadFault | None:
        """Take the head of an answer: the whole file follows, or what is missing of it."""
        self._body = body
        if body.offset == self.received:
            return None
        self.received = 0
        self._buffer.clear()
        self._gunzip = _Gunzip()
        try:
            await self._file.restart()
        except OSError as error:
            return _disk_fault(error)
        return None

    async def take(self, part: bytes) -> DownloadRefused | DownloadFault | None:
        """Take a part of the body; return why the download has to end, if it has to."""
        assert self._body is not None, "the head comes first"
        self.received += len(part)
        if not self._body.is_gzip:
            return await self._keep(part)
        try:
            for piece in self._gunzip.pieces(part):
                if (end := await self._keep(piece)) is not None:
                    return end
        except zlib.error:
            return _BROKEN_GZIP
        return None

    async def finish(self) -> DownloadEnd:
        """Return the end of a download whose body arrived completely."""
        assert self._body is not None, "the head comes first"
        if self._body.is_gzip and not self._gunzip.is_complete:
            return _BROKEN_GZIP
        if self._body.size not in {None, self.received}:
            return NOT_THE_REST
        try:
            await self._write()
            digest = await self._file.finish()
        except OSError as error:
            return _disk_fault(error)
        if not self._file.size:
            return DownloadRefused("The file is empty.")
        return Downloaded(digest, self._file.size, self._body.etag, self._body.content_type)

    def discard(self) -> None:
        """Remove the file."""
        self._file.discard()

    async def _keep(self, content: bytes) -> DownloadRefused | DownloadFault | None:
        self._buffer += content
        if self._file.size + len(self._buffer) > self._bytes_max:
            return too_large(self._bytes_max)
        if len(self._buffer) < BUFFER_BYTES:
            return None
        try:
            await self._write()
        except OSError as error:
            return _disk_fault(error)
        return None

    async def _write(self) -> None:
        content, self._buffer = bytes(self._buffer), bytearray()
        await self._file.write(content)


class _Gunzip:
    """Decompresses a body in pieces of bounded size."""

    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._has_surplus = False

    @property
    def is_complete(self) -> bool:
        """Whether the body ends where the compressed file ends."""
        return self._decompressor.eof and not self._has_surplus

    def pieces(self, part: bytes) -> Iterator[bytes]:
        """Yield what the part decompresses to.

        Raises:
            zlib.error: it is not gzip.
        """
        while part and not self._decompressor.eof:
            yield self._decompressor.decompress(part, BUFFER_BYTES)
            part = self._decompressor.unconsumed_tail
        self._has_surplus |= bool(part)


_BROKEN_GZIP = DownloadFault("The source sent a file that is not valid gzip.")


def _disk_fault(error: OSError) -> DownloadFault:
    if error.errno in _FULL:
        message = "The disk is full, so the file cannot be kept."
    else:
        message = f"The file cannot be written: {error.strerror or error}."
    return DownloadFault(message, is_of_disk=True)
