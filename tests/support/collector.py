"""An OTLP collector on loopback, which receives the traces of replicas."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATH = "/v1/traces"


@dataclass
class Collector:
    """A collector: its address, and how many spans it received."""

    url: str = ""
    spans: int = 0


@contextlib.asynccontextmanager
async def collector(
    receive: Callable[[ExportTraceServiceRequest], None] | None = None,
) -> AsyncIterator[Collector]:
    """Run a collector that counts spans and calls `receive` with each export."""
    made = Collector()

    async def collect(request: web.Request) -> web.Response:
        export = ExportTraceServiceRequest.FromString(await request.read())
        made.spans += sum(
            len(scope.spans) for resource in export.resource_spans for scope in resource.scope_spans
        )
        if receive is not None:
            receive(export)
        return web.Response()

    application = web.Application(client_max_size=64 * 1024**2)
    application.router.add_post(PATH, collect)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
    try:
        yield made
    finally:
        await runner.cleanup()
