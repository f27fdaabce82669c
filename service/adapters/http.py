"""The service's own port: `/livez`, `/readyz`, `/metrics` (contract §6)."""

from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Checks = Callable[[], Mapping[str, bool]]


class HttpPort:
    """Answers probes. It is the last to close in a drain."""

    def __init__(self, live: Checks, ready: Checks) -> None:
        application = web.Application()
        application.router.add_get("/livez", lambda request: _answer(request, live()))
        application.router.add_get("/readyz", lambda request: _answer(request, ready()))
        application.router.add_get("/metrics", _metrics)
        self._runner = web.AppRunner(application, access_log=None)

    async def open(self, host: str, port: int) -> int:
        """Listen; the port that was taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        taken: int = self._runner.addresses[0][1]
        return taken

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


async def _answer(request: web.Request, checks: Mapping[str, bool]) -> web.Response:
    lines = [
        f"[{'+' if ok else '-'}]{name} {'ok' if ok else 'failed'}" for name, ok in checks.items()
    ]
    is_well = all(checks.values())
    text = "\n".join(lines) if "verbose" in request.query else "ok" if is_well else "failed"
    return web.Response(text=text + "\n", status=200 if is_well else 503)


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})
