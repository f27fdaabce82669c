"""`asset-sync translate`: raw topics become change events, each source by itself.

Start: settings, sources file, topics, HTTP port, then each source: producer, runner, consumer.
End: each source: drain, consumer (which leaves the group), producer, runner; then the HTTP port.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from service import __version__
from service.adapters.http.admin_server import (
    NOTHING_HELD_BACK,
    OVERVIEW_PAGE,
    AdminHandlers,
    AdminServer,
    NotReleased,
)
from service.adapters.kafka.aiokafka_gaps.permissions import (
    Needs,
    needs_of_outcomes,
    needs_of_translate,
)
from service.adapters.kafka.options import quieten_aiokafka
from service.adapters.kafka.preflight import require_topics
from service.adapters.readback.hosts import HttpDamHosts
from service.adapters.telemetry.logs import LogObserver, configure
from service.adapters.telemetry.metrics import process_registry
from service.adapters.telemetry.translate_meters import SourcesCollector, TranslateMeters
from service.adapters.telemetry.translate_overview import (
    TranslateAbout,
    TranslateOverview,
    TranslateTotals,
)
from service.apps.member import Member, work
from service.apps.source import SourceMember, hosts_of
from service.apps.sources import (
    check_secrets,
    load_sources,
    reader_of,
    secrets_of_hosts,
    selected_sources,
)
from service.apps.start import log_start, open_port
from service.contracts.asyncapi import Topics
from service.contracts.asyncapi_sources import RawSource, translate_asyncapi
from service.core.status import HeldBack
from service.mapping.file.load import Loaded as LoadedFile
from service.ports import Observers
from service.process import program
from service.process.exit_codes import ExitCode
from service.process.shutdown import Shutdown, leave_in_time
from service.settings import Loaded, Settings
from service.translation.messages import ReadAnswered
from service.translation.reads import StartRead


async def run(loaded: Loaded) -> ExitCode:
    """Translate until SIGTERM or SIGINT, and return the exit code (contract.md §2).

    Raises:
        SettingsError: a setting, the sources file, one of its tests or a secret is wrong.
    """
    configure(loaded.settings.log.format, loaded.settings.log.level)
    quieten_aiokafka()
    shutdown = Shutdown()
    file = load_sources(loaded.settings)
    translation = Translation(loaded, file, shutdown)
    return await program.run(translation.run, shutdown)


class Translation:
    """The sources of one replica, wired when it is made, and how they start and close."""

    def __init__(self, loaded: Loaded, file: LoadedFile, shutdown: Shutdown) -> None:
        """Wire the chosen sources.

        Raises:
            SettingsError: a source is not in the file, or a secret cannot be read.
        """
        self._loaded = loaded
        self._settings = settings = loaded.settings
        self._shutdown = shutdown
        names = selected_sources(file, settings)
        used = {
            host: model
            for name in names
            for host, model in hosts_of(file.model.sources[name], file.model.hosts).items()
        }
        check_secrets(loaded.secrets, secrets_of_hosts(file.model, names))
        registry = process_registry()
        meters = TranslateMeters(registry, names, used, __version__)
        observers = Observers(LogObserver(settings.log.level), meters)
        self._hosts = hosts = HttpDamHosts(used, reader_of(loaded.secrets), observers)
        totals = TranslateTotals()
        self._sources = {
            name: SourceMember(
                settings,
                file,
                name,
                hosts,
                lambda source: (meters.of(source), totals.of(source)),
                shutdown,
                sources=names,
            )
            for name in names
        }
        gauges = {name: source.gauges for name, source in self._sources.items()}
        registry.register(SourcesCollector(gauges))
        overview = TranslateOverview(_about(settings), gauges, totals)
        self._server = AdminServer(
            AdminHandlers(
                live=self._live,
                ready=self._ready,
                live_lines=self._live_lines,
                ready_lines=self._ready_lines,
                registry=registry,
                asyncapi=self._asyncapi(),
                release=self._release,
                status=(lambda: overview.read().as_json()) if settings.http.status_page else None,
                page=OVERVIEW_PAGE,
                held_back=self._held_back,
            )
        )

    async def run(self) -> ExitCode:
        """Start, work until the shutdown begins, drain and close; return the exit code."""
        log_start(self._loaded)
        needs = require_topics(self._settings.kafka, self._needs())
        if await self._shutdown.interrupts(needs):
            return ExitCode.DRAINED
        await open_port(self._server, self._settings.http)
        if await self._shutdown.interrupts(self._start()):
            await self._server.close()
            return ExitCode.DRAINED
        for source in self._sources.values():
            source.member.begin(source.watch)
        code = ExitCode.FAILED
        try:
            code = await work([one.member for one in self._sources.values()], self._shutdown)
        finally:
            leave_in_time(code)
            await self._close()
        return code

    def _needs(self) -> Needs:
        """Return every topic that the chosen sources read and write."""
        topics = [topic for one in self._sources.values() for topic in one.kafka.events_topic_names]
        return {
            **needs_of_translate(topics, self._settings.translate_topic),
            **needs_of_outcomes(self._settings.kafka),
        }

    def _asyncapi(self) -> dict[str, Any]:
        kafka = self._settings.kafka
        topics = Topics(
            (self._settings.translate_topic,),
            kafka.outcomes_topic,
            kafka.group_id,
            kafka.dead_letters_topic,
        )
        sources = [
            RawSource(name, one.kafka.events_topic_names, one.kafka.group_id)
            for name, one in self._sources.items()
        ]
        return translate_asyncapi(__version__, topics, sources)

    async def _start(self) -> None:
        await asyncio.gather(*(one.member.log.start() for one in self._sources.values()))

    async def _close(self) -> None:
        sources = self._sources.values()
        await asyncio.gather(*(one.member.close() for one in sources))
        await self._hosts.close()
        for source in sources:
            if source.traces is not None:
                await asyncio.to_thread(source.traces.close)
        await self._server.close()

    # --- the HTTP port -----------------------------------------------------------------------

    def _live(self) -> dict[str, bool]:
        """Return the checks of `/livez`: a source that hangs makes the replica unhealthy."""
        return {
            f"{name} {check}": is_ok
            for name, one in self._sources.items()
            for check, is_ok in one.watch.live().items()
        }

    def _ready(self) -> dict[str, bool]:
        return {
            f"{name} {check}": is_ok
            for name, one in self._sources.items()
            for check, is_ok in one.watch.ready().items()
        }

    def _live_lines(self) -> list[str]:
        return [line for one in self._sources.values() for line in one.watch.live_lines()]

    def _ready_lines(self) -> list[str]:
        return [line for one in self._sources.values() for line in one.watch.ready_lines()]

    def _release(self, source: str | None) -> int | NotReleased:
        """Release what the limit or the ceiling holds back of a source."""
        member = self._member_of(source)
        if isinstance(member, NotReleased):
            return member
        released = member.runner.release(member.consumer.lags)
        return NOTHING_HELD_BACK if released is None else released

    def _held_back(self, source: str | None) -> HeldBack | NotReleased:
        member = self._member_of(source)
        if isinstance(member, NotReleased):
            return member
        return member.runner.held_back() or NOTHING_HELD_BACK

    def _member_of(self, source: str | None) -> Member[ReadAnswered, StartRead] | NotReleased:
        """Return the membership of a source; it may be unnamed if there is only one."""
        if source is None and len(self._sources) == 1:
            source = next(iter(self._sources))
        chosen = self._sources.get(source or "")
        if chosen is None:
            found = ", ".join(self._sources)
            return NotReleased(
                f"Name the source to release with --source: one of {found}.",
                HTTPStatus.BAD_REQUEST,
            )
        return chosen.member


def _about(settings: Settings) -> TranslateAbout:
    pipeline = settings.pipeline
    return TranslateAbout(
        __version__,
        settings.kafka.group_id,
        pipeline.max_pending_changes,
        pipeline.max_pending_bytes,
    )
