"""The routes of media files (akeneo.md §6)."""

import secrets
import string
from urllib.parse import unquote

from aiohttp import web

from service.playground.pim.frame import Frame
from service.playground.pim.responses import API, RefusedError, base_url
from service.playground.pim.routes import PimRoute
from service.playground.pim.simulator import PimSimulator

_EXTENSION_CHARACTERS = frozenset(string.ascii_letters + string.digits)
_NAME_CHARACTERS = _EXTENSION_CHARACTERS | set("._-")

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
        if request.content_type != "multipart/form-data":
            raise RefusedError(415, "The Content-Type has to be multipart/form-data.")
        found = (await request.post()).get("file")
        if not isinstance(found, web.FileField):
            raise RefusedError(422, "The property file is required.")
        with found.file as opened:
            content = opened.read()
        given = unquote(found.filename)
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
