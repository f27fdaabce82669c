"""`asset-sync run`: makes every part of the service and wires it to the others.

Start: settings, topics, HTTP port, producer, runner, consumer.
End: drain, consumer (which leaves the group), producer, runner, HTTP port, folder of media files.
"""

import asyncio
import random
import time
from http import HTTPStatus

from prometheus_client import CollectorRegistry

from service import __version__
from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.http.admin_server import (
    NOTHING_HELD_BACK,
    AdminHandlers,
    AdminServer,
    NotReleased,
)
from service.adapters.kafka.aiokafka_gaps.permissions import needs_of_run
from service.adapters.kafka.consumer import Consumer
from service.adapters.kafka.options import quieten_aiokafka
from service.adapters.kafka.preflight import require_topics
from service.adapters.kafka.subscription import Subscription
from service.adapters.telemetry.logs import LogObserver, configure
from service.adapters.telemetry.metrics import GaugeCollector, Meters, process_registry
from service.adapters.telemetry.progress import Progress
from service.adapters.telemetry.recent_outcomes import RecentOutcomes
from service.adapters.telemetry.status_report import ReplicaInfo, StatusReport
from service.apps.media import media_of
from service.apps.member import QUIET_MARGIN_SECONDS, Member, work
from service.apps.start import contact_watch, log_start, open_port, traces_of
from service.apps.watch import Watch
from service.contracts.asyncapi import Topics, asyncapi
from service.core.effects import PipelineEffect
from service.core.inputs import PipelineInput
from service.core.pipeline import Pipeline
from service.core.status import HeldBack, families
from service.ports import Observers, clock_seconds
from service.process import program
from service.process.exit_codes import ExitCode
from service.process.shutdown import Shutdown, leave_in_time
from service.runtime.download_tasks import DownloadTasks
from service.runtime.pipeline_tasks import PipelineTasks
from service.runtime.request_tasks import RequestTasks
from service.settings import Loaded, Settings

NO_SOURCES = NotReleased(
    "This is `asset-sync run`, which has no sources: leave out --source, or give the port of "
    "`asset-sync translate`.",
    HTTPStatus.BAD_REQUEST,
)


async def run(loaded: Loaded) -> ExitCode:
    """Run one replica until SIGTERM or SIGINT, and return the exit code (contract.md §2)."""
    configure(loaded.settings.log.format, loaded.settings.log.level)
    quieten_aiokafka()
    shutdown = Shutdown()
    service = Service(loaded, shutdown)
    return await program.run(service.run, shutdown)


class Service:
    """One replica: its parts, wired when it is made, and how they start and close."""

    def __init__(self, loaded: Loaded, shutdown: Shutdown) -> None:
        self._loaded = loaded
        self._settings = settings = loaded.settings
        self._shutdown = shutdown
        self._traces = traces = traces_of(settings)
        progress, recent_outcomes = Progress(time.monotonic()), RecentOutcomes()
        registry = process_registry()
        observers = Observers(
            *([traces] if traces else []),
            LogObserver(settings.log.level),
            progress,
            Meters(registry, __version__),
            *([recent_outcomes] if settings.http.status_page else []),
        )
        self._media = media = media_of(settings.media)
        uploads = media.uploads if media is not None else None
        self._api = api = HttpAssetApi(settings.pim, loaded.credentials, observers, uploads)
        pipeline = Pipeline(settings.limits(), random.random)
        self._member = member = Member[PipelineInput, PipelineEffect](
            Subscription(settings.kafka, settings.drain.max_seconds, settings.pim.max_concurrency),
            pipeline,
            lambda inbox: PipelineTasks(
                RequestTasks(traces.around_api(api) if traces else api, inbox),
                DownloadTasks(media.downloads, inbox) if media is not None else None,
            ),
            observers,
            shutdown,
            traces=traces,
        )
        report = _report(settings, pipeline, member.consumer, recent_outcomes)
        registry.register(GaugeCollector(report.gauges))
        self._watch = Watch(
            member.runner,
            member.consumer,
            contact_watch(settings.kafka, settings.drain.max_seconds, observers),
            report,
            progress,
            shutdown,
            pending=lambda: pipeline.pending_changes,
        )
        self._server = AdminServer(self._handlers(registry, report))

    def _handlers(self, registry: CollectorRegistry, report: StatusReport) -> AdminHandlers:
        kafka = self._settings.kafka
        topics = Topics(
            kafka.events_topic_names,
            kafka.outcomes_topic,
            kafka.group_id,
            kafka.dead_letters_topic,
        )
        return AdminHandlers(
            live=self._watch.live,
            ready=self._watch.ready,
            live_lines=self._watch.live_lines,
            ready_lines=self._watch.ready_lines,
            registry=registry,
            asyncapi=asyncapi(__version__, topics),
            release=self._release,
            held_back=self._held_back,
            status=report.page if self._settings.http.status_page else None,
        )

    def _release(self, source: str | None) -> int | NotReleased:
        if source is not None:
            return NO_SOURCES
        released = self._member.runner.release(self._member.consumer.lags)
        return NOTHING_HELD_BACK if released is None else released

    def _held_back(self, source: str | None) -> HeldBack | NotReleased:
        if source is not None:
            return NO_SOURCES
        return self._member.runner.held_back() or NOTHING_HELD_BACK

    async def run(self) -> ExitCode:
        """Start, work until the shutdown begins, drain and close; return the exit code."""
        try:
            return await self._run()
        finally:
            if self._media is not None:
                await self._media.close()

    async def _run(self) -> ExitCode:
        log_start(self._loaded)
        kafka = self._settings.kafka
        if await self._shutdown.interrupts(require_topics(kafka, needs_of_run(kafka))):
            return ExitCode.DRAINED
        await open_port(self._server, self._settings.http)
        if await self._shutdown.interrupts(self._member.log.start()):
            await self._server.close()
            return ExitCode.DRAINED
        self._member.begin(self._watch)
        code = ExitCode.FAILED
        try:
            code = await work([self._member], self._shutdown)
        finally:
            leave_in_time(code)
            await self._close()
        return code

    async def _close(self) -> None:
        await self._member.close()
        await self._api.close()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)
        await self._server.close()


def _report(
    settings: Settings, pipeline: Pipeline, consumer: Consumer, recent_outcomes: RecentOutcomes
) -> StatusReport:
    return StatusReport(
        _replica(settings),
        recent_outcomes,
        lambda: pipeline.status(clock_seconds()),
        lambda: families(pipeline.dispatcher, clock_seconds()),
        lambda: consumer.lags,
        lambda: consumer.behind_transactions,
        consumer.unread_seconds,
    )


def _replica(settings: Settings) -> ReplicaInfo:
    pipeline = settings.pipeline
    return ReplicaInfo(
        version=__version__,
        group=settings.kafka.group_id,
        limits={
            "pending_changes_limit": pipeline.max_pending_changes,
            "pending_bytes_limit": pipeline.max_pending_bytes,
            "media_disk_bytes_limit": settings.media.disk_bytes if settings.media.are_on else 0,
        },
        quiet_seconds_max=_quiet_seconds_max(settings),
    )


def _quiet_seconds_max(settings: Settings) -> float:
    """Return how long pending changes may see nothing happen.

    A window waits for its time; then a token and the call may each take their timeout. Before that,
    a file may take the timeout of its download or its upload.
    """
    media = settings.media
    file_seconds = max(media.timeout_seconds, media.upload_timeout_seconds)
    return (
        QUIET_MARGIN_SECONDS
        + settings.window.max_seconds
        + 2 * settings.pim.timeout_seconds
        + (file_seconds if media.are_on else 0.0)
    )
