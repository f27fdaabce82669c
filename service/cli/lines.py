"""Read JSON Lines for `convert` and `publish`. A bad line never raises; it becomes a Rejection."""

import codecs
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from service.cli.output import is_read
from service.contracts.json_flaw import UNREADABLE
from service.core.limits import DecodeLimits, Deletes
from service.core.model import (
    UNMEASURED,
    Command,
    Origin,
    Partition,
    Rejection,
    SourceRecord,
)
from service.core.read.convert import convert
from service.core.read.decode import decode
from service.settings import temporary_directory

STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
LINE_BYTES_MAX = 16 * 1024 * 1024
"""How many bytes of a line are kept in memory; the rest of a longer line is skipped."""

_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_REST_BYTES = 64 * 1024


class InputError(Exception):
    """The input cannot be read as lines; the message explains why."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not empty; `is_truncated` if it was longer than LINE_BYTES_MAX."""

    number: int
    text: bytes
    is_truncated: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """The record that a line becomes, and the service's command or rejection for it."""

    record: SourceRecord
    command: Command | Rejection


def lines(file: BinaryIO) -> Iterator[Line]:
    """Yield every line that is not empty, without the white space around it.

    A UTF-8 byte order mark at the beginning of the file is skipped.

    Raises:
        InputError: The file cannot be read, or it is UTF-16.
    """
    number = 0
    while piece := _read_line(file, LINE_BYTES_MAX + 1):
        number += 1
        is_truncated = len(piece) > LINE_BYTES_MAX and not piece.endswith(b"\n")
        if is_truncated:
            _skip_rest_of_line(file)
        if number == 1:
            if piece.startswith(_UTF_16_MARKS):
                raise InputError(
                    "The file is UTF-16, events are UTF-8: convert it first, "
                    "for example with `iconv -f UTF-16 -t UTF-8`."
                )
            piece = piece.removeprefix(codecs.BOM_UTF8)
        if text := piece.strip():
            yield Line(number, text, is_truncated)


def lines_while_shown(file: BinaryIO) -> Iterator[Line]:
    """Yield every line, until nobody reads what is printed; a pipe might never end.

    A regular file is read to its end in any case, so that the exit code is that of all its lines.

    Raises:
        InputError: as `lines` does.
    """
    may_be_endless = not file.seekable()
    for line in lines(file):
        if may_be_endless and not is_read():
            return
        yield line


def judge(line: Line, limits: DecodeLimits, deletes: Deletes = "apply") -> Judged:
    """Decode and convert the line as the service would, with the key FAMILY/CODE."""
    record = _record(line)
    if line.is_truncated:
        return Judged(record, _too_large(f"more than {LINE_BYTES_MAX}", limits))
    change = decode(record, limits)
    if change.asset is not None:
        key = change.asset.path.encode()
        record = msgspec.structs.replace(record, key=key, size=UNMEASURED)
    if isinstance(change, Rejection):
        return Judged(record, change)
    if record.size > limits.record_bytes_max:
        return Judged(record, _too_large(str(record.size), limits))
    return Judged(record, convert(change, deletes))


@contextmanager
def rereadable(file: BinaryIO) -> Iterator[BinaryIO]:
    """Yield the file itself, or a copy on disk if the file can be read only once (a pipe).

    Raises:
        InputError: The file cannot be read, or the copy cannot be written.
    """
    if file.seekable():
        yield file
        return
    folder = temporary_directory()
    with ExitStack() as opened:
        try:
            copy = opened.enter_context(tempfile.TemporaryFile(dir=folder))
            shutil.copyfileobj(file, copy)
            copy.flush()
        except OSError as error:
            raise InputError(
                f"The input cannot be copied to {folder}: {error.strerror}. Give a file instead of "
                "-, or name a directory that can be written to in TMPDIR."
            ) from None
        copy.seek(0)
        yield copy


def _record(line: Line) -> SourceRecord:
    try:
        is_cloud = "specversion" in msgspec.json.decode(line.text, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        is_cloud = False
    origin = Origin(Partition("file", 0), line.number - 1, 0)
    return SourceRecord(origin, None, line.text, STRUCTURED if is_cloud else ())


def above_limit(line: Line, limits: DecodeLimits) -> Rejection | None:
    """Return the rejection of a line that is too large as a record even without a key."""
    if line.is_truncated:
        return _too_large(f"more than {LINE_BYTES_MAX}", limits)
    size = len(line.text)
    return _too_large(str(size), limits) if size > limits.record_bytes_max else None


def _too_large(size: str, limits: DecodeLimits) -> Rejection:
    return Rejection(
        status="rejected",
        reason="too_large",
        message=f"The record has {size} bytes of key, value and headers; "
        f"the limit is {limits.record_bytes_max}.",
    )


def _read_line(file: BinaryIO, limit: int) -> bytes:
    try:
        return file.readline(limit)
    except OSError as error:
        raise InputError(f"The input cannot be read: {error.strerror or error}.") from None


def _skip_rest_of_line(file: BinaryIO) -> None:
    while (rest := _read_line(file, _REST_BYTES)) and not rest.endswith(b"\n"):
        pass
