"""Standard streams that report errors in plain sentences, and escaping of foreign text.

Rule 1: a reader that goes away (`| head`) is not an error. Later output is discarded, the command
ends with its usual exit code, and a command that only prints a topic stops (`is_read`).
Rule 2: a stream that cannot be written for another reason (a full disk) ends the command with a
sentence on stderr and exit code 1.
Rule 3: text from elsewhere passes `shown` or `json_text` before it is printed, and only a console
of `console` prints it: a terminal must not obey its control or direction characters.
"""

import codecs
import errno
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO, cast

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PIPE_WIDTH = 400
"""Columns of a table in a file or a pipe: wide enough that nothing is cut off."""

_PLAIN = {"→": "->", "…": "...", "\N{EN DASH}": "-", "—": "-", "•": "*"}
_ERRORS = "asset_sync_plain"


class OutputError(Exception):
    """Standard output cannot be written to; the message explains why."""


class _Stream(io.FileIO):
    """A standard stream of this process; it discards output once writing has failed."""

    def __init__(self, descriptor: int, *, is_fatal: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.is_fatal = is_fatal
        self.is_broken = False

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write; wait while a non-blocking stream is full."""
        try:
            while (count := super().write(data)) is None:
                select.select((), (self.fileno(),), ())
        except OSError as error:
            self._discard_from_now_on()
            if self.is_fatal and error.errno != errno.EPIPE:
                raise OutputError(
                    f"The output cannot be written: {error.strerror or error}."
                ) from None
            return memoryview(data).nbytes
        else:
            return count

    def has_reader(self) -> bool:
        """Return False once the pipe's reader has closed it."""
        if not self.is_broken:
            asked = select.poll()
            asked.register(self.fileno(), 0)
            self.is_broken = any(event & select.POLLERR for _, event in asked.poll(0))
        return not self.is_broken

    def _discard_from_now_on(self) -> None:
        self.is_broken = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def take_streams() -> None:
    """Replace stdin, stdout and stderr by streams that follow the rules above.

    A stream that was already replaced, for example by a test runner, stays.
    """
    for descriptor in range(3):
        _keep_open(descriptor)
    if sys.stdin is None:
        sys.stdin = _nowhere("r")
    if sys.stdout is sys.__stdout__:
        sys.stdout = _taken(sys.stdout, is_fatal=True)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _taken(sys.stderr, is_fatal=False)


def log_on_regardless() -> None:
    """Keep `run` working when stdout cannot be written to: the work matters more than its log."""
    if (stream := _stream()) is not None:
        stream.is_fatal = False


def is_read() -> bool:
    """Return whether stdout still has a reader: False after `| head` has ended."""
    stream = _stream()
    return stream is None or stream.has_reader()


def shown(text: str, keep: str = "") -> str:
    """Return text from elsewhere with every unprintable character as its escape sequence.

    This covers line ends (except those in `keep`), terminal escape sequences, characters that
    change the direction of text, and lone surrogates.
    """
    return _escaped(text, _python_escape, keep)


def json_text(value: bytes, indent: int = -1) -> str:
    """Return equivalent JSON on one line (or indented), without unprintable characters.

    If stdout's encoding lacks a character, everything but ASCII is escaped. A parser reads the
    same values either way.

    Raises:
        msgspec.DecodeError: The value is not JSON.
        UnicodeDecodeError: The value is not UTF-8.
        RecursionError: The value is nested too deeply to be read.
    """
    text = msgspec.json.format(value, indent=indent).decode()
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return _escaped(text, _json_escape, "\n", is_ascii=True)
    return _escaped(text, _json_escape, "\n")


def console(*, is_stderr: bool = False) -> Console:
    """Return a console without markup or emoji; in a file or a pipe it cuts nothing off."""
    made = Console(stderr=is_stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


def say(text: str | bytes, *, ends_line: bool = True) -> None:
    """Print on stdout in its own encoding (`click.echo` alone writes UTF-8 to an ASCII stream)."""
    click.echo(text, file=sys.stdout, nl=ends_line)


def complain(message: str) -> None:
    """Print a message on stderr; unprintable characters except line ends are escaped."""
    click.echo(shown(message, keep="\n"), file=sys.stderr)


class Update(Protocol):
    """Takes how much is done; `total` where it was not known before."""

    def __call__(self, done: int, total: int | None = None) -> None: ...


@contextmanager
def progress(action: str, total: int | None, *columns: ProgressColumn) -> Iterator[Update]:
    """Show a bar on stderr if that is a terminal; yield the callback that takes the progress.

    `total` is None as long as it is not known.
    """
    out = console(is_stderr=True)
    with Progress(
        TextColumn(action),
        BarColumn(),
        *columns,
        TimeElapsedColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    ) as bar:
        task = bar.add_task(action, total=total)

        def update(done: int, total: int | None = None) -> None:
            bar.update(task, completed=done, total=total)

        yield update


def _escaped(text: str, escape: Callable[[str], str], keep: str, *, is_ascii: bool = False) -> str:
    if text.isprintable() and not is_ascii:
        return text
    return "".join(
        c if c in keep or (c.isprintable() and (c.isascii() or not is_ascii)) else escape(c)
        for c in text
    )


def _python_escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _as_plain(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement for characters that the stream's encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or _python_escape(c) for c in missing), error.end


codecs.register_error(_ERRORS, _as_plain)


def _keep_open(descriptor: int) -> None:
    """Open /dev/null on a closed standard stream, so that no socket gets its number."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)


def _taken(given: TextIO | None, *, is_fatal: bool) -> TextIO:
    if not isinstance(given, io.TextIOWrapper):
        return _nowhere("w")
    return io.TextIOWrapper(
        io.BufferedWriter(_Stream(given.fileno(), is_fatal=is_fatal)),
        encoding=given.encoding,
        errors=_ERRORS,
        line_buffering=given.line_buffering,
        write_through=given.write_through,
    )


def _nowhere(mode: str) -> TextIO:
    nowhere = open(os.devnull, mode, encoding="utf-8", errors=_ERRORS)  # noqa: PTH123, SIM115 - stays open until the process ends
    return cast("TextIO", nowhere)


def _stream() -> _Stream | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Stream) else None
