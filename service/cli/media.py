"""The command `asset-sync media get`: save a media file of the PIM."""

import asyncio
import os
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import click
from rich.progress import DownloadColumn

from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.http_client import RawReply, status_text
from service.cli.options import Utf8, stop
from service.cli.output import complain, progress, say
from service.core.inputs import CallFault
from service.settings import Loaded, SettingsError, load

PARTIAL = ".part"
"""The ending of the name under which a file is written until it is complete."""


@click.group()
def media() -> None:
    """Look at the media files of the PIM."""


@media.command(
    epilog="""\b
Example:
  asset-sync media get 3/b/5/5/3b55..._boot.jpg boot.jpg
"""
)
@click.argument("code", type=Utf8())
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
def get(code: str, file: Path) -> None:
    """Save the media file with this CODE, as outcomes and values name it, to FILE.

    An existing FILE is replaced, but only once the new one is complete.
    """
    try:
        loaded = load()
        asyncio.run(_get(loaded, code, file))
    except SettingsError as error:
        stop(f"The settings cannot be used:\n{error}", 2)
    except OSError as error:
        stop(f"{error.filename or file} cannot be written: {error.strerror or error}.")
    except KeyboardInterrupt:
        complain("Stopped. Nothing was saved.")
        raise


async def _get(loaded: Loaded, code: str, file: Path) -> None:
    partial = file.with_name(file.name + PARTIAL)
    api = HttpAssetApi(loaded.settings.pim, loaded.credentials)
    try:
        with partial.open("wb") as opened:
            found = await _save(api, code, opened)
            size = opened.tell()
        if isinstance(found, CallFault):
            stop(found.message)
        if found.status != HTTPStatus.OK:
            stop(_refusal(code, found))
        os.replace(partial, file)  # noqa: PTH105 - of two names in one directory
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        await api.close()
    say(f"Saved {code} to {file} ({size:,} bytes).")


async def _save(api: HttpAssetApi, code: str, opened: BinaryIO) -> RawReply | CallFault:
    """Write the file as it comes.

    Raises:
        OSError: the file cannot be written; whatever else fails is a fault of the call.
    """
    unwritten: list[OSError] = []
    with progress("saved", None, DownloadColumn()) as update:

        def take(part: bytes, length: int | None) -> None:
            try:
                opened.write(part)
            except OSError as error:
                unwritten.append(error)
                raise
            update(opened.tell(), length)

        found = await api.get_media_file(code, take)
    for error in unwritten:
        raise error
    return found


def _refusal(code: str, reply: RawReply) -> str:
    match reply.status:
        case HTTPStatus.NOT_FOUND:
            return f"The PIM has no media file {code}. Give its whole code, with the slashes."
        case HTTPStatus.FORBIDDEN:
            return "The connection may not read media files: give its role the permission."
        case status:
            return f"The PIM answered {status_text(status)}."
