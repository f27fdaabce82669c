"""What the commands about the sources file read: the file itself, events, and answers of a DAM."""

import codecs
import sys
from pathlib import Path
from typing import NoReturn

import click

from service.apps.sources import read_sources
from service.cli.options import bytes_of, stop
from service.mapping.endings import EarlyEndError
from service.mapping.file.load import Loaded
from service.mapping.json_values import decode
from service.mapping.results import Fetched, NotFound, RawRecord
from service.settings import SettingsError, load_without_pim

EVENT_BYTES_MAX = 16 * 1024 * 1024
"""Largest event or answer that is read from a file, in bytes."""

DEFAULT_FILE = Path("sources.yaml")


def sources_file(given: Path | None) -> tuple[Path, Loaded]:
    """Return the sources file and its path; exit with 2 and all faults if something is wrong.

    Args:
        given: The path on the command line; None takes the one of the settings, or ./sources.yaml.
    """
    try:
        settings = load_without_pim()
        path = given or settings.sources_file or DEFAULT_FILE
        return path, read_sources(path, settings)
    except SettingsError as error:
        _refuse(str(error))


def _refuse(message: str) -> NoReturn:
    count = len(message.splitlines())
    stop(message if count == 1 else f"{message}\n{count} faults.", 2)


class HeaderPair(click.ParamType[tuple[str, bytes]]):
    """A header of a record, as NAME=VALUE."""

    name = "NAME=VALUE"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, bytes]:
        """Return the name and the value."""
        name, is_pair, text = value.partition("=")
        if not is_pair or not name:
            self.fail(f"{value!r} is not of the form NAME=VALUE", param, ctx)
        return name, bytes_of(text)


def event_record(
    content: bytes, topic: str, key: str | None, headers: tuple[tuple[str, bytes], ...]
) -> RawRecord:
    """Return an event as the first record of a topic."""
    return RawRecord(topic, 0, 0, None if key is None else bytes_of(key), content, headers)


def read_event(path: str) -> bytes:
    """Return the content of a file, or of standard input for `-`; exit with 1 if it fails.

    A byte order mark at the beginning is the file's, not the event's.
    """
    try:
        if path == "-":
            content = sys.stdin.buffer.read(EVENT_BYTES_MAX + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(EVENT_BYTES_MAX + 1)
    except OSError as error:
        stop(f"{path} cannot be read: {error.strerror or error}.")
    if len(content) > EVENT_BYTES_MAX:
        stop(f"{path} has more than {EVENT_BYTES_MAX} bytes.")
    return content.removeprefix(codecs.BOM_UTF8).strip()


def read_answer(path: str | None) -> Fetched | None:
    """Return what the DAM would answer: the object in a file, or that there is none."""
    if path is None:
        return None
    if path == "not_found":
        return NotFound()
    try:
        answer = decode(read_event(path), path)
    except EarlyEndError as error:
        stop(error.message)
    if not isinstance(answer, dict):
        stop(f"{path} must hold a JSON object: the answer of the DAM.")
    return answer
