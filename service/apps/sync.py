"""`asset-sync run`: makes every part of the service and wires it to the others.

Start: settings, topics, HTTP port, producer, runner, consumer.
End: drain, consumer (which leaves the group), producer, runner, HTTP port.
"""

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from service import __version__
from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.clock import SystemClock
from service.adapters.http.admin_server import AdminHandlers, AdminServer
from service.adapters.kafka.aiokafka_gaps.permissions import needs_of_run
from service.adapters.kafka.consumer import DRAIN_MARGIN_SECONDS, Consumer
from service.adapters.kafka.errors import describe
from service.adapters.kafka.options import quieten_aiokafka
from service.adapters.kafka.preflight import require_topics
from service.adapters.kafka.reach import ContactWatch
from service.adapters.kafka.subscription import Subscription
from service.adapters.kafka.transaction import TransactionLog
from service.adapters.telemetry.logs import LogObserver, configure
from service.adapters.telemetry.metrics import GaugeCollector, Meters, process_registry
from service.adapters.telemetry.progress import Progress
from service.adapters.telemetry.recent_outcomes import RecentOutcomes
from service.adapters.telemetry.status_report import ReplicaInfo, StatusReport
from service.apps.listening import listening
from service.apps.watch import Watch
from service.contracts.asyncapi import Topics, asyncapi
from service.core.effects import RequestEffect
from service.core.inputs import DrainKind, RequestInput
from service.core.pipeline import Pipeline
from service.core.status import families
from service.ports import FatalError, Observers
from service.process import program
from service.process.exit_codes import ExitCode
from service.process.shutdown import Shutdown, close_within, leave_in_time, report_end
from service.runtime.inbox import RunnerInbox
from service.runtime.request_tasks import RequestTasks
from service.runtime.runner import Runner
from service.settings import Loaded, Settings, SettingsError

if TYPE_CHECKING:
    from service.adapters.telemetry.traces import Traces

GROUP_SILENCE_SECONDS_MAX = 60.0
"""How long the group may acknowledge no heartbeat, beyond its rebalance timeout."""
QUIET_MARGIN_SECONDS = 90.0
"""How long pending changes may see nothing happen, beyond their window and a call.

That is three times the longest delay before a retry (`DELAY_SECONDS_MAX`).
"""
CLOSE_SECONDS_MAX = 4.0
"""How long the consumer may take to close, and then the producer."""


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
        self._log = structlog.get_logger()
        self._traces = traces = _traces(settings)
        progress, recent_outcomes = Progress(time.monotonic()), RecentOutcomes()
        registry = process_registry()
        observers = Observers(
            *([traces] if traces else []),
            LogObserver(settings.log.level),
            progress,
            Meters(registry, __version__),
            *([recent_outcomes] if settings.http.status_page else []),
        )
        clock = SystemClock()
        self._api = api = HttpAssetApi(settings.pim, loaded.credentials, observers)
        self._outcomes = outcomes = TransactionLog(settings.kafka, observers.note)
        self._inbox = inbox = RunnerInbox[RequestInput](clock)
        self._consumer = consumer = Consumer(
            Subscription(settings.kafka, settings.drain.max_seconds, settings.pim.max_concurrency),
            outcomes,
            traces.around_inbox(inbox, observers) if traces else inbox,
            observers.note,
            shutdown.fail,
        )
        pipeline = Pipeline(settings.limits(), random.random)
        self._runner = Runner[RequestInput, RequestEffect](
            pipeline,
            inbox,
            requests=RequestTasks(traces.around_api(api) if traces else api, inbox),
            log=traces.around_log(outcomes) if traces else outcomes,
            intake=consumer,
            observer=observers,
            clock=clock,
        )
        report = StatusReport(
            _replica(settings),
            recent_outcomes,
            lambda: pipeline.status(clock.now().seconds),
            lambda: families(pipeline.dispatcher),
            lambda: consumer.lags,
            lambda: consumer.behind_transactions,
        )
        registry.register(GaugeCollector(report.gauges))
        contact = _contact_watch(settings, observers)
        self._watch = Watch(pipeline, self._runner, consumer, contact, report, progress, shutdown)
        self._server = AdminServer(self._handlers(registry, report))

    def _handlers(self, registry: CollectorRegistry, report: StatusReport) -> AdminHandlers:
        kafka = self._settings.kafka
        topics = Topics(kafka.events_topic_names, kafka.outcomes_topic, kafka.group_id)
        return AdminHandlers(
            live=self._watch.live,
            ready=self._watch.ready,
            live_lines=self._watch.live_lines,
            ready_lines=self._watch.ready_lines,
            registry=registry,
            asyncapi=asyncapi(__version__, topics),
            release=lambda: self._runner.release(self._consumer.lags),
            status=report.page if self._settings.http.status_page else None,
        )

    async def run(self) -> ExitCode:
        """Start, work until the shutdown begins, drain and close; return the exit code."""
        self._log_start()
        kafka = self._settings.kafka
        if await self._shutdown.interrupts(require_topics(kafka, needs_of_run(kafka))):
            return ExitCode.DRAINED
        self._log.info("http.listening", port=await self._open_port())
        if await self._shutdown.interrupts(self._outcomes.start()):
            await self._server.close()
            return ExitCode.DRAINED
        running = asyncio.create_task(self._runner.run())
        watching = asyncio.create_task(self._watch.run())
        joining = asyncio.create_task(self._join_group())
        for task in (running, watching, joining):
            self._shutdown.fail_with(task)
        code = ExitCode.FAILED
        try:
            code = await self._work(running)
        finally:
            leave_in_time(code)
            watching.cancel()
            joining.cancel()
            await self._close(running)
        return code

    def _log_start(self) -> None:
        for warning in self._loaded.warnings:
            self._log.warning("settings.unwise", message=warning)
        sources = list(self._loaded.sources)
        self._log.info("service.started", version=__version__, settings_from=sources)
        servers = self._settings.kafka.bootstrap_servers
        self._log.info("kafka.connecting", bootstrap_servers=servers)

    async def _open_port(self) -> int:
        http = self._settings.http
        with listening(http.host, http.port, "HTTP"):
            return await self._server.open(http.host, http.port)

    async def _join_group(self) -> None:
        try:
            await self._consumer.open()
        except Exception as error:
            why = describe(error, self._settings.kafka)
            raise FatalError(f"The group could not be joined: {why}") from error

    async def _work(self, running: asyncio.Task[None]) -> ExitCode:
        """Work until the shutdown begins, then drain; return the exit code."""
        try:
            await self._shutdown.begun()
        except FatalError as error:
            report_end(error)
            return ExitCode.FAILED
        except Exception:
            # Before closing, which may hang and then ends the process without a traceback.
            self._log.exception("service.bug", message="A bug in asset-sync. Please report it.")
            raise
        await self._drain(running)
        # What is not committed waits for the next owner. Only a commit whose fate is unknown is a
        # failure (contract.md §1, P7).
        if self._outcomes.is_commit_unresolved:
            self._log.error("commit.in_doubt", message="Kafka did not answer the last commit.")
            return ExitCode.FAILED
        return ExitCode.DRAINED

    async def _drain(self, running: asyncio.Task[None]) -> None:
        """Finish what is open, for `DRAIN__MAX_SECONDS` at most or until the runner fails."""
        self._consumer.assignment.leave()
        drain_seconds = self._settings.drain.max_seconds
        draining = asyncio.create_task(self._inbox.drain(DrainKind.SHUTDOWN, drain_seconds))
        await asyncio.wait((draining, running), return_when=asyncio.FIRST_COMPLETED)
        if draining.done():
            self._log.info("service.drained", left_to_the_next_owner=draining.result())
            return
        draining.cancel()
        try:
            running.result()
        except FatalError as error:
            report_end(error)

    async def _close(self, running: asyncio.Task[None]) -> None:
        await close_within(CLOSE_SECONDS_MAX, self._consumer.close())
        await close_within(CLOSE_SECONDS_MAX, self._outcomes.stop())
        running.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await running
        await self._api.close()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)
        await self._server.close()


def _contact_watch(settings: Settings, observers: Observers) -> ContactWatch:
    """Return the watch over Kafka. A rebalance may wait for the drain of each replica."""
    rebalance_seconds = settings.drain.max_seconds + DRAIN_MARGIN_SECONDS
    silence_seconds_max = rebalance_seconds + GROUP_SILENCE_SECONDS_MAX
    return ContactWatch(settings.kafka, silence_seconds_max, observers.note)


def _traces(settings: Settings) -> "Traces | None":
    """Return the tracer if an endpoint is set; only then its libraries are imported.

    Raises:
        SettingsError: they are not installed.
    """
    if settings.traces.endpoint is None:
        return None
    try:
        from service.adapters.telemetry.traces import Traces  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError(
            f"ASSET_SYNC_TRACES__ENDPOINT needs OpenTelemetry ({error.name} is missing): "
            "install asset-sync[otel], or leave it out."
        ) from None
    return Traces(settings, __version__)


def _replica(settings: Settings) -> ReplicaInfo:
    pipeline = settings.pipeline
    return ReplicaInfo(
        version=__version__,
        group=settings.kafka.group_id,
        limits={
            "pending_changes_limit": pipeline.max_pending_changes,
            "pending_bytes_limit": pipeline.max_pending_bytes,
        },
        # A window waits for its time; then a token and the call may each take their timeout.
        quiet_seconds_max=QUIET_MARGIN_SECONDS
        + settings.window.max_seconds
        + 2 * settings.pim.timeout_seconds,
    )
