"""The routes of media files (akeneo.md §6)."""

import secrets
import string
from urllib.parse import unquote

from aiohttp import BodyPartReader, web

from service.playground.pim.frame import Frame
from service.playground.pim.responses import API, RefusedError, base_url
from service.playground.pim.routes import PimRoute
from service.playground.pim.simulator import PimSimulator

_EXTENSION_CHARACTERS = frozenset(string.ascii_letters + string.digits)
_NAME_CHARACTERS = _EXTENSION_CHARACTERS | set("._-")

MEDIA_BYTES_MAX = 64 * 1024 * 1024
MEDIA_FILES = API + "/asset-media-files"


class MediaRoutes:
    """Serves the media files of a simulator."""

    def __init__(self, pim: PimSimulator) -> None:
        self._media = pim.media

    def routes(self, frame: Frame) -> list[PimRoute]:
        upload = frame.around("upload", self._upload)
        download = frame.around("download", self._download)
        return [
            PimRoute("POST", MEDIA_FILES, upload, "upload a media file"),
            PimRoute("GET", MEDIA_FILES + "/{code:.+}", download, "download a media file"),
        ]

    async def _upload(self, request: web.Request) -> web.Response:
        given, content = await _read_file(request)
        if set(given.rpartition(".")[2]) - _EXTENSION_CHARACTERS:
            raise RefusedError(
                422, "The extension of the file has characters that are not allowed."
            )
        name = "".join(c if c in _NAME_CHARACTERS else "_" for c in given)
        digest = secrets.token_hex(20)
        code = f"{digest[0]}/{digest[1]}/{digest[2]}/{digest[3]}/{digest}_{name}"
        self._media[code] = content
        location = f"{base_url(request)}{MEDIA_FILES}/{code}"
        headers = {"Asset-media-file-code": code, "Location": location}
        return web.Response(status=201, headers=headers)

    async def _download(self, request: web.Request) -> web.Response:
        code = request.match_info["code"]
        if code not in self._media:
            raise RefusedError(404, f'Media file "{code}" does not exist.')
        name = code.partition("_")[2]
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return web.Response(body=self._media[code], headers=headers)


async def _read_file(request: web.Request) -> tuple[str, bytes]:
    """Return the name and the content of the part `file`.

    Raises:
        RefusedError: 415 for another content type, 422 without the part, 413 if it is too large.
    """
    if request.content_type != "multipart/form-data":
        raise RefusedError(415, "The Content-Type has to be multipart/form-data.")
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if isinstance(part, BodyPartReader) and part.name == "file" and part.filename:
                return unquote(part.filename), await _read_part(part)
    except ValueError as error:
        raise RefusedError(422, f"The form cannot be read: {error}") from error
    raise RefusedError(422, "The property file is required.")


async def _read_part(part: BodyPartReader) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk():
        content += chunk
        if len(content) > MEDIA_BYTES_MAX:
            raise RefusedError(413, "The file is too large.")
    return bytes(content)
