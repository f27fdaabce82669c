"""Writes the upload of a media file: one part named `file`, read from disk (akeneo.md §6)."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from urllib.parse import quote

from service.core.requests import UploadFile
from service.ports import StoredFiles

_NAME_CHARACTERS = " !#$&'()+,;=@[]^_`{}~."
"""What stands in the name of a file as it is, besides letters and digits."""
_ANY_TYPE = "application/octet-stream"


class FileLostError(Exception):
    """A file that is to be uploaded is not on disk any more; the message says why."""


class Multipart:
    """The body of an upload. Each iteration reads the file from its beginning, piece by piece."""

    def __init__(self, file: UploadFile, files: StoredFiles, size: int) -> None:
        self._files = files
        self._file_id = file.file_id
        self._boundary = secrets.token_hex(16)
        name = quote(file.name, safe=_NAME_CHARACTERS)
        self._head = (
            f"--{self._boundary}\r\n"
            f'content-disposition: form-data; name="file"; filename="{name}"\r\n'
            f"content-type: {file.content_type or _ANY_TYPE}\r\n\r\n"
        ).encode("ascii")
        self._size = size
        self._tail = f"\r\n--{self._boundary}--\r\n".encode("ascii")
        self._length = len(self._head) + size + len(self._tail)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that tell of this body."""
        return {
            "content-type": f"multipart/form-data; boundary={self._boundary}",
            "content-length": str(self._length),
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head
        size = 0
        async with aclosing(self._files.read(self._file_id)) as parts:
            try:
                async for part in parts:
                    size += len(part)
                    _check_size(size, self._size, is_whole=False)
                    yield part
            except OSError as error:
                raise _lost(error) from error
        _check_size(size, self._size)
        yield self._tail


async def multipart(file: UploadFile, files: StoredFiles) -> Multipart:
    """Return the body of an upload.

    Raises:
        FileLostError: the file cannot be read, or is not as it was downloaded.
    """
    try:
        size = await files.size(file.file_id)
    except OSError as error:
        raise _lost(error) from error
    if file.size is not None:
        _check_size(size, file.size)
    return Multipart(file, files, size)


def _check_size(size: int, expected: int, *, is_whole: bool = True) -> None:
    """Raise `FileLostError` if the file, or its beginning, cannot be the one that is expected."""
    if size > expected or (is_whole and size < expected):
        found = f"{size:,} bytes on disk instead of {expected:,}"
        raise FileLostError(f"The downloaded file is damaged: it has {found}.")


def _lost(error: OSError) -> FileLostError:
    return FileLostError(
        f"The downloaded file cannot be read from disk any more: {error.strerror or error}."
    )
