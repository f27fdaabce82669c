"""`asset-sync console`: makes every part of the program and wires it to the others.

It has two processes: this one answers people, and another one (`console_indexer`) fills the index.
Start: the other process, which waits; topic, port for probes, port for pages; then the other
process begins. End: the other process closes the index while the port for pages closes.
"""

import asyncio
from pathlib import Path
from socket import socket

import structlog

from service import __version__
from service.adapters.http.admin_server import AdminHandlers, AdminServer
from service.adapters.http.console_server import ConsoleHandlers, ConsoleServer
from service.adapters.kafka.aiokafka_gaps.permissions import needs_of_console
from service.adapters.kafka.options import quieten_aiokafka
from service.adapters.kafka.preflight import require_topics
from service.adapters.outcome_index.threads import SearchThreads
from service.adapters.outcome_index.view import IndexView
from service.adapters.replica_status import HttpReplicas
from service.adapters.telemetry.console_metrics import ConsoleGauges, ConsoleMeters
from service.adapters.telemetry.logs import LogObserver, configure
from service.adapters.telemetry.metrics import process_registry
from service.apps import console_indexer
from service.apps.indexer_process import IndexerProcess
from service.apps.listening import listening
from service.apps.serving import ServingProgram
from service.apps.start import open_port
from service.closing import close_within
from service.console.hits import IndexState
from service.console.links import Links
from service.console.reports import Progress
from service.ports import Observers
from service.process import program
from service.process.child import Child, fork
from service.process.exit_codes import ExitCode
from service.process.shutdown import Shutdown
from service.settings import PREFIX, ConsoleSettings, Loaded, Settings, SettingsError

CLOSE_SECONDS_MAX = 4.0
"""How long each part may take to close."""
QUIET_SECONDS_MAX = 300.0
"""How long one read or write may take before only a restart can help."""
UNKNOWN = float("nan")


def run(loaded: Loaded) -> ExitCode:
    """Run the console until SIGTERM or SIGINT, and return the exit code (contract.md §2).

    Raises:
        SettingsError: no directory is set for the index.
    """
    settings = loaded.settings
    folder = _folder(settings.console)
    configure(settings.log.format, settings.log.level)
    quieten_aiokafka()
    indexer = fork(lambda connection: _index(settings, folder, connection))
    return asyncio.run(_serve(loaded, folder, indexer))


def _index(settings: Settings, folder: Path, connection: socket) -> ExitCode:
    """Fill the index, in the other process."""
    return asyncio.run(console_indexer.run(settings.kafka, settings.console, folder, connection))


async def _serve(loaded: Loaded, folder: Path, indexer: Child) -> ExitCode:
    shutdown = Shutdown()
    return await program.run(Service(loaded, shutdown, folder, indexer).run, shutdown)


class Service(ServingProgram):
    """The process of the pages: its parts, wired when it is made, and how they start and close."""

    def __init__(self, loaded: Loaded, shutdown: Shutdown, folder: Path, indexer: Child) -> None:
        super().__init__(loaded, shutdown)
        self._settings = settings = loaded.settings
        self._log = structlog.get_logger()
        registry = process_registry()
        note = Observers(LogObserver(settings.log.level), ConsoleMeters(registry, __version__)).note
        self._indexer = IndexerProcess(indexer, self._show, note)
        self._index = IndexView(folder, settings.console.days, self._indexer.report_damage)
        self._searches = SearchThreads(self._index)
        places = settings.console.replica_places
        self._replicas = HttpReplicas(places, note) if places else None
        self._server = ConsoleServer(
            ConsoleHandlers(
                search=self._searches.search,
                index=self._index_state,
                replicas=self._replicas,
                links=Links(settings.console.dam_link or "", settings.console.pim_link or ""),
                user_header=settings.console.user_header,
                note=note,
            )
        )
        registry.register(ConsoleGauges(self._gauges))
        self._admin = AdminServer(
            AdminHandlers(
                live=self._live,
                ready=self._ready,
                live_lines=self._lines,
                ready_lines=self._lines,
                registry=registry,
            )
        )

    async def _start(self) -> None:
        """Check the topic, open the ports, and let the other process begin."""
        console, kafka = self._settings.console, self._settings.kafka
        await require_topics(kafka, needs_of_console(kafka))
        await open_port(self._admin, self._settings.http)
        with listening(console.host, console.port, "CONSOLE"):
            port = await self._server.open(console.host, console.port)
        self._log.info("console.listening", port=port, user_header=console.user_header)
        await self._indexer.begin()

    async def _work(self) -> None:
        await self._indexer.run()

    async def _finish(self) -> None:
        self._log.info("service.drained", outcomes=self._index.outcomes)

    async def _close(self) -> None:
        self._indexer.stop()
        await close_within(CLOSE_SECONDS_MAX, self._server.close())
        self._searches.close()
        await self._indexer.close(CLOSE_SECONDS_MAX)
        if self._replicas is not None:
            await self._replicas.close()
        await self._admin.close()

    # --- its state ---------------------------------------------------------------------------

    def _show(self, progress: Progress) -> None:
        self._index.show(progress.segments)
        self._searches.release_dropped()

    def _index_state(self) -> IndexState:
        index = self._index
        return IndexState(index.outcomes, index.size_bytes, index.oldest_ms, self._indexer.lag)

    def _live(self) -> dict[str, bool]:
        """Return the checks of `/livez`; waiting for Kafka counts as progress."""
        is_waiting = self._indexer.problem is not None
        return {
            "pages": self._server.is_listening,
            "indexing": is_waiting or self._indexer.quiet_seconds <= QUIET_SECONDS_MAX,
        }

    def _ready(self) -> dict[str, bool]:
        """Return the checks of `/readyz`: in an outage of Kafka, what is indexed can be found."""
        return {
            "pages": self._server.is_listening,
            "index": self._indexer.is_open,
            "not_draining": not self._shutdown.has_begun,
        }

    def _lines(self) -> list[str]:
        """Return the additional lines of `/livez?verbose` and `/readyz?verbose`."""
        state = self._index_state()
        limit = self._settings.console.max_bytes
        lines = [f"[ ]index: {state.outcomes} outcomes, {state.size_bytes} of {limit} bytes"]
        if state.lag is not None:
            lines.append(f"[ ]outcomes to index: {state.lag}")
        if self._indexer.problem is not None:
            lines.append(
                f"[-]Kafka at {self._settings.kafka.bootstrap_servers}: {self._indexer.problem}"
            )
        return lines

    def _gauges(self) -> dict[str, float]:
        state = self._index_state()
        return {
            "console_index_outcomes": state.outcomes,
            "console_index_bytes": state.size_bytes,
            "console_index_bytes_limit": self._settings.console.max_bytes,
            "console_lag": UNKNOWN if state.lag is None else state.lag,
            "console_kafka_reachable": self._indexer.problem is None,
        }


def _folder(console: ConsoleSettings) -> Path:
    """Return the directory of the index.

    Raises:
        SettingsError: none is set.
    """
    if console.dir is None:
        raise SettingsError(
            f"{PREFIX}CONSOLE__DIR is required: a directory for the index of outcomes."
        )
    return console.dir
