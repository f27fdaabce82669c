"""The composition root: the only file that knows every part.

Start: settings → broker and topics → HTTP port → transactional producer → runner → door.
End: drain → door (leaves the group) → producer → HTTP port.
"""

import asyncio
import contextlib
import gc
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from service import __version__
from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.clock import SystemClock
from service.adapters.http.admin_server import AdminHandlers, AdminServer
from service.adapters.kafka.consumer import DRAIN_MARGIN_SECONDS, Consumer
from service.adapters.kafka.errors import describe
from service.adapters.kafka.options import quieten_aiokafka
from service.adapters.kafka.preflight import require_topics
from service.adapters.kafka.reach import ContactWatch
from service.adapters.kafka.transaction import TransactionLog
from service.adapters.telemetry.logs import LogObserver, configure
from service.adapters.telemetry.metrics import Meters, process_registry
from service.adapters.telemetry.progress import Progress
from service.adapters.telemetry.status_report import ReplicaInfo, StatusReport
from service.contracts.asyncapi import Topics, asyncapi
from service.core.inputs import DrainKind
from service.core.pipeline import Pipeline
from service.core.status import FamilyStatus, families
from service.ports import FatalError, Observers
from service.runtime.inbox import RunnerInbox
from service.runtime.runner import Runner
from service.settings import Loaded, Settings, SettingsError

if TYPE_CHECKING:
    from service.adapters.telemetry.traces import Traces

POLL_SILENCE_SECONDS_MAX = 60.0
GROUP_SILENCE_SECONDS_MAX = 60.0
"""Beyond the rebalance timeout, how long the group may leave us without an acknowledgement."""
LOOP_SILENCE_SECONDS_MAX = 30.0
QUIET_MARGIN_SECONDS = 90.0
"""Beyond its window and its calls, how long held work may see nothing happen: three delays."""
LOOK_SECONDS = 1.0
CLOSE_SECONDS_MAX = 4.0
"""For the consumer, and for the producer."""
LEAVE_SECONDS_MAX = 12.0
"""For all of it, after the drain: less than the chart's grace period has beyond it."""
GARBAGE_THRESHOLDS = (20_000, 20, 20)
"""Objects that live before they are looked through: the changes under way are many thousands."""


class Service:
    """One replica."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._settings = settings = loaded.settings
        self._log = structlog.get_logger()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_draining = False
        self._observers = Observers()
        self._api = HttpAssetApi(settings.pim, loaded.credentials, self._observers)
        self._outcomes = TransactionLog(settings.kafka, self._observers.note)
        self._traces = _traces(settings)
        if self._traces is not None:
            self._observers.add(self._traces)
        drain_seconds = settings.drain.max_seconds
        self._contact = ContactWatch(
            settings.kafka,
            drain_seconds + DRAIN_MARGIN_SECONDS + GROUP_SILENCE_SECONDS_MAX,
            self._observers.note,
        )
        clock = SystemClock()
        inbox = self._inbox = RunnerInbox(clock)
        self._consumer = Consumer(
            settings,
            self._outcomes,
            self._traces.around_inbox(inbox, self._observers) if self._traces else inbox,
            self._observers.note,
            self.fail,
        )
        self._assignment = self._consumer.assignment
        self._pipeline = Pipeline(settings.limits(), random.random)
        self._runner = Runner(
            self._pipeline,
            inbox,
            api=self._traces.around_api(self._api) if self._traces else self._api,
            log=self._traces.around_log(self._outcomes) if self._traces else self._outcomes,
            intake=self._consumer,
            observer=self._observers,
            clock=clock,
        )
        self._view = StatusReport(
            _replica(settings),
            self._runner.status,
            self._families,
            lambda: self._consumer.lags,
            lambda: self._consumer.behind_transactions,
        )
        self._progress = Progress(time.monotonic())
        registry = process_registry()
        self._observe(registry)
        self._server = AdminServer(self._handlers(registry))

    def _observe(self, registry: CollectorRegistry) -> None:
        """Tell logs, meters and the status page what happens."""
        self._observers.add(LogObserver(self._settings.log.level))
        self._observers.add(self._progress)
        self._observers.add(Meters(registry, __version__, self._view.gauges))
        if self._settings.http.status_page:
            self._observers.add(self._view.recent_outcomes)

    def _handlers(self, registry: CollectorRegistry) -> AdminHandlers:
        kafka, http = self._settings.kafka, self._settings.http
        topics = Topics(kafka.events_topic_names, kafka.outcomes_topic, kafka.group_id)
        return AdminHandlers(
            live=self._live,
            ready=self._ready,
            live_lines=lambda: [*self._contact.lines(), *self._view.live_lines()],
            ready_lines=lambda: [*self._contact.lines(), *self._view.ready_lines()],
            registry=registry,
            asyncapi=asyncapi(__version__, topics),
            release=lambda: self._runner.release(self._consumer.lags),
            status=self._view.page if http.status_page else None,
        )

    def fail(self, error: BaseException) -> None:
        """Nothing more can be promised: end."""
        if not self._ended.done():
            self._ended.set_exception(error)

    def stop(self) -> None:
        """SIGTERM or SIGINT: drain; a second one ends at once."""
        if self._is_draining or self._ended.done():
            _exit_at_once(1)
        self._is_draining = True
        self._ended.set_result(None)

    async def run(self) -> int:
        """Work until stopped; the exit code."""
        settings = self._settings
        for warning in self._loaded.warnings:
            self._log.warning("settings.unwise", message=warning)
        self._log.info(
            "service.started", version=__version__, settings_from=list(self._loaded.sources)
        )
        self._log.info("kafka.connecting", bootstrap_servers=settings.kafka.bootstrap_servers)
        if not await self._unless_stopped(require_topics(settings.kafka)):
            return 0
        self._log.info("http.listening", port=await self._open_port())
        if not await self._unless_stopped(self._outcomes.start()):
            await self._server.close()
            return 0
        running = asyncio.create_task(self._runner.run())
        running.add_done_callback(self._runner_ended)
        watching = asyncio.create_task(self._watch())
        watching.add_done_callback(self._runner_ended)
        opening = asyncio.create_task(self._consumer.open())
        opening.add_done_callback(self._opened)
        code = 1
        try:
            code = await self._until_drained(running)
        finally:
            _leave_in_time(code)
            watching.cancel()
            opening.cancel()
            await self._close(running)
        return code

    async def _until_drained(self, running: asyncio.Future[None]) -> int:
        """Work, and finish what is open; the exit code. What ended it is said at once."""
        try:
            await self._ended
        except FatalError as error:
            _say_why(error)
            return 1
        self._assignment.leave()
        drain_seconds = self._settings.drain.max_seconds
        draining = asyncio.create_task(self._inbox.drain(DrainKind.SHUTDOWN, drain_seconds))
        await asyncio.wait((draining, running), return_when=asyncio.FIRST_COMPLETED)
        if draining.done():
            self._log.info("service.drained", left_to_the_next_owner=draining.result())
        else:
            draining.cancel()
            try:
                running.result()
            except FatalError as error:
                _say_why(error)
        # What is not committed waits for the next owner; 1 only where nobody knows (P7).
        if self._outcomes.is_commit_in_doubt:
            self._log.error("commit.in_doubt", message="Kafka did not answer the last commit.")
            return 1
        return 0

    async def _open_port(self) -> int:
        http = self._settings.http
        try:
            return await self._server.open(http.host, http.port)
        except OSError as error:
            raise FatalError(
                f"Cannot listen on {http.host}:{http.port}: {_plainly(error)}. "
                "Set ASSET_SYNC_HTTP__PORT or ASSET_SYNC_HTTP__HOST."
            ) from None

    async def _unless_stopped(self, starting: Coroutine[None, None, None]) -> bool:
        """Whether the start went through before a signal ended it."""
        task = asyncio.create_task(starting)
        await asyncio.wait((task, self._ended), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        _leave_in_time(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False

    async def _close(self, running: asyncio.Future[None]) -> None:
        for closing in (self._consumer.close, self._outcomes.stop):
            # Not by wait_for: it waits for what it cancels, and aiokafka may not heed that.
            task = asyncio.create_task(closing())
            await asyncio.wait({task}, timeout=CLOSE_SECONDS_MAX)
            task.cancel()
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        running.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await running
        await self._api.close()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)
        await self._server.close()

    def _runner_ended(self, running: asyncio.Future[None]) -> None:
        """The runner, or what watches over it and the consumer: the process ends with either."""
        if not running.cancelled() and (error := running.exception()) is not None:
            self.fail(error)

    def _opened(self, opening: asyncio.Future[None]) -> None:
        if not opening.cancelled() and (error := opening.exception()) is not None:
            words = describe(error, self._settings.kafka)
            self.fail(FatalError(f"The group could not be joined: {words}"))

    async def _watch(self) -> None:
        """End where the consumer is stuck; rejoin where the group fenced us."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._consumer.measure_lags()
            self._say_progress()
            now = time.monotonic()
            if self._assignment.epoch is not None:
                if now - self._consumer.polled_at > POLL_SILENCE_SECONDS_MAX:
                    self.fail(
                        FatalError(
                            "The Kafka consumer is stuck: no poll for "
                            f"{POLL_SILENCE_SECONDS_MAX:g} s."
                        )
                    )
                if self._runner.is_fenced.is_set():
                    self._runner.is_fenced.clear()
                    self._assignment.rejoin()
            try:
                await self._contact.check(self._assignment.lease_renewed_at)
            except FatalError as error:
                self.fail(error)

    def _say_progress(self) -> None:
        self._progress.assigned(self._assignment.epoch, self._assignment.partitions)
        pending = self._pipeline.pending_changes
        self._progress.pass_time(time.monotonic(), pending, sum(self._consumer.lags.values()))

    def _families(self) -> list[FamilyStatus]:
        return families(self._pipeline.dispatcher)

    def _live(self) -> dict[str, bool]:
        """Loops that turn; neither Kafka nor the PIM is asked."""
        now = time.monotonic()
        is_assigned = self._assignment.epoch is not None
        return {
            "runner": now - self._runner.stepped_at < LOOP_SILENCE_SECONDS_MAX,
            "poll": not is_assigned or now - self._consumer.polled_at < POLL_SILENCE_SECONDS_MAX,
            **self._view.live(),
        }

    def _ready(self) -> dict[str, bool]:
        return {
            "kafka": not self._contact.is_away,
            "group": self._assignment.epoch is not None,
            "producer": not self._ended.done(),
            "not_draining": not self._is_draining,
        }


def _traces(settings: Settings) -> "Traces | None":
    """The tracer where somebody wants it; its libraries are loaded only then.

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
    """What the view shows of the settings."""
    pipeline = settings.pipeline
    return ReplicaInfo(
        version=__version__,
        group=settings.kafka.group_id,
        limits={
            "pending_changes_limit": pipeline.max_pending_changes,
            "pending_bytes_limit": pipeline.max_pending_bytes,
        },
        # A call may take its timeout, and a token's before it; a window may wait for its time.
        quiet_seconds_max=QUIET_MARGIN_SECONDS
        + settings.window.max_seconds
        + 2 * settings.pim.timeout_seconds,
    )


async def run(loaded: Loaded) -> int:
    """Run one replica until SIGTERM or SIGINT; the exit code (contract.md §2)."""
    settings = loaded.settings
    # What is made at the start stays; of what is made for each event nothing is part of a cycle.
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    configure(settings.log.format, settings.log.level)
    quieten_aiokafka()
    service = Service(loaded)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    try:
        return await service.run()
    except FatalError as error:
        _say_why(error)
        return 1


def _plainly(error: OSError) -> str:
    """What the system says, without what asyncio wraps it in."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno).lower()


def _say_why(error: FatalError) -> None:
    """The last word, for the log and for a person."""
    structlog.get_logger().error("service.ended", message=str(error))
    print(error, file=sys.stderr)  # noqa: T201 - an operator's plain word


def _leave_in_time(code: int) -> None:
    """End the process, whatever still hangs: what had to be committed is, or never will be."""
    timer = threading.Timer(LEAVE_SECONDS_MAX, _exit_at_once, (code,))
    timer.daemon = True
    timer.start()


def _exit_at_once(code: int) -> None:
    """Nothing may run any more; what was logged is written."""
    sys.stdout.flush()
    os._exit(code)
