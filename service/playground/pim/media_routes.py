"""The routes of media files (akeneo.md §6)."""

import secrets
from urllib.parse import unquote

from aiohttp import web

from service.playground.pim.frame import Frame
from service.playground.pim.responses import API, RefusedError, base_url
from service.playground.pim.routes import PimRoute
from service.playground.pim.simulator import PimSimulator

MEDIA_FILES = API + "/asset-media-files"


class MediaRoutes:
    """Serves the media files of a simulator."""

    def __init__(self, pim: PimSimulator) -> None:
        self._media = pim.media

    def routes(self, frame: Frame) -> list[PimRoute]:
        upload = frame.around("write", self._upload)
        download = frame.around("read", self._download)
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
        digest = secrets.token_hex(20)
        given = unquote(found.filename)
        name = "".join(c if c.isalnum() or c in "._-" else "_" for c in given)
        code = f"{digest[0]}/{digest[1]}/{digest[2]}/{digest[3]}/{digest}_{name}"
        self._media[code] = found.file.read()
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
