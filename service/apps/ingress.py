"""`asset-sync ingress`: makes every part of the program and wires it to the others.

Start: sources file, secrets, topics, HTTP port, producer, webhook port.
End: the webhook port answers 503 until open requests are answered, then producer and HTTP port.
"""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from service import __version__
from service.adapters.http.admin_server import OVERVIEW_PAGE, AdminHandlers, AdminServer
from service.adapters.http.webhook_server import WebhookServer
from service.adapters.kafka.aiokafka_gaps.permissions import needs_of_ingress
from service.adapters.kafka.options import quieten_aiokafka
from service.adapters.kafka.preflight import require_topics
from service.adapters.kafka.raw_topics import RawTopicsWriter
from service.adapters.published_keys import HttpPublishedKeys
from service.adapters.telemetry.ingress_metrics import IngressGauges, IngressMeters
from service.adapters.telemetry.ingress_overview import IngressOverview, IngressTotals, Webhook
from service.adapters.telemetry.logs import LogObserver, configure
from service.adapters.telemetry.metrics import process_registry
from service.adapters.tls import ServedCertificate
from service.apps.endpoints import endpoints_of
from service.apps.listening import listening
from service.apps.serving import ServingProgram
from service.apps.sources import check_webhook_secrets, load_sources
from service.apps.start import open_port
from service.closing import close_within
from service.core.facts import Fact
from service.ports import Observers, PublishedKeys
from service.process import program
from service.process.exit_codes import ExitCode
from service.process.shutdown import Shutdown
from service.runtime.receiver import Receiver
from service.runtime.secret_cache import SecretCache
from service.settings import PREFIX, IngressSettings, Loaded, SettingsError
from service.webhooks.endpoint import Endpoint, by_path

DRAIN_SECONDS_MAX = 10.0
"""How long open requests may take to finish after SIGTERM."""
CLOSE_SECONDS_MAX = 4.0
"""How long the producer may take to close."""
RENEW_SECONDS = 30.0
"""How often the files of the certificate are looked at."""


MakeKeys = Callable[[Callable[[Fact], None]], PublishedKeys]
"""Makes the part that fetches the keys of Amazon and Adobe, given where it notes its facts."""


async def run(loaded: Loaded, make_keys: MakeKeys = HttpPublishedKeys) -> ExitCode:
    """Run one replica until SIGTERM or SIGINT, and return the exit code (contract.md §2).

    Raises:
        SettingsError: the sources file, a secret or a certificate cannot be used.
    """
    configure(loaded.settings.log.format, loaded.settings.log.level)
    quieten_aiokafka()
    shutdown = Shutdown()
    service = Service(loaded, shutdown, make_keys)
    return await program.run(service.run, shutdown)


class Service(ServingProgram):
    """One replica: its parts, wired when it is made, and how they start and close."""

    def __init__(self, loaded: Loaded, shutdown: Shutdown, make_keys: MakeKeys) -> None:
        super().__init__(loaded, shutdown)
        self._settings = settings = loaded.settings
        self._log = structlog.get_logger()
        file = load_sources(settings)
        check_webhook_secrets(file.model, loaded.secrets)
        self._endpoints = endpoints = endpoints_of(file)
        self._certificate = _certificate(settings.ingress)
        registry = process_registry()
        names = [endpoint.source for endpoint in endpoints]
        totals = IngressTotals()
        observers = Observers(
            LogObserver(settings.log.level),
            IngressMeters(registry, __version__, names),
            *([totals] if settings.http.status_page else []),
        )
        self._topics = topics = RawTopicsWriter(settings.kafka, observers.note)
        self._keys = keys = make_keys(observers.note)
        self._receiver = Receiver(
            topics,
            keys,
            SecretCache(loaded.secrets.get),
            settings.ingress.max_in_flight,
            observers.note,
        )
        self._server = WebhookServer(
            by_path(endpoints),
            self._receiver.receive,
            observers.note,
            settings.ingress_body_bytes_max,
        )
        self.port = 0
        """The port for webhooks, once it is open."""
        registry.register(IngressGauges(self._gauges))
        overview = IngressOverview(
            __version__, _webhooks(endpoints), totals, self._gauges, lambda: topics.problem
        )
        self._admin = AdminServer(
            AdminHandlers(
                live=lambda: {"webhooks": self._server.is_listening},
                ready=self._ready,
                live_lines=self._lines,
                ready_lines=self._lines,
                registry=registry,
                status=(lambda: overview.read().as_json()) if settings.http.status_page else None,
                page=OVERVIEW_PAGE,
            )
        )

    async def _start(self) -> None:
        """Check the topics, open the port for probes, the producer and the port for webhooks."""
        ingress = self._settings.ingress
        topics = [endpoint.topic for endpoint in self._endpoints]
        await require_topics(self._settings.kafka, needs_of_ingress(topics))
        await open_port(self._admin, self._settings.http)
        await self._topics.start()
        with listening(ingress.host, ingress.port, "INGRESS"):
            tls = None if self._certificate is None else self._certificate.context
            self.port = await self._server.open(ingress.host, ingress.port, tls)
        paths = {endpoint.path: endpoint.source for endpoint in self._endpoints}
        self._log.info("webhooks.listening", port=self.port, tls=tls is not None, paths=paths)

    async def _work(self) -> None:
        await asyncio.gather(self._topics.keep_going(), self._renew_certificate())

    async def _renew_certificate(self) -> None:
        """Look for a renewed certificate, for ever."""
        while self._certificate is not None:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if self._certificate.renew():
                    self._log.info("webhooks.certificate_renewed")
            except SettingsError as error:
                self._log.error("webhooks.certificate_not_renewed", message=str(error))

    async def _finish(self) -> None:
        """Answer the requests that are open."""
        await self._server.drain(DRAIN_SECONDS_MAX)
        self._log.info("service.drained", open_requests=self._server.open_requests)

    async def _close(self) -> None:
        await close_within(CLOSE_SECONDS_MAX, self._server.close())
        await close_within(CLOSE_SECONDS_MAX, self._topics.stop())
        await self._keys.close()
        await self._admin.close()

    def _ready(self) -> dict[str, bool]:
        return {
            "kafka": self._topics.problem is None,
            "webhooks": self._server.is_listening,
            "not_draining": not self._shutdown.has_begun,
        }

    def _lines(self) -> list[str]:
        """Return the additional lines of `/livez?verbose` and `/readyz?verbose`."""
        limit = self._settings.ingress.max_in_flight
        lines = [
            f"[ ]in flight: {self._receiver.in_flight} of {limit}",
            f"[ ]connections: {self._server.connections}",
        ]
        if (problem := self._topics.problem) is not None:
            lines.append(f"[-]Kafka at {self._settings.kafka.bootstrap_servers}: {problem}")
        return lines

    def _gauges(self) -> dict[str, float]:
        return {
            "ingress_connections": self._server.connections,
            "ingress_in_flight": self._receiver.in_flight,
            "ingress_in_flight_limit": self._settings.ingress.max_in_flight,
            "ingress_reading_bytes": self._server.reading_bytes,
            "ingress_kafka_reachable": self._topics.problem is None,
        }


def _webhooks(endpoints: Iterable[Endpoint]) -> list[Webhook]:
    return [Webhook(one.source, one.path, one.topic, one.scheme.name) for one in endpoints]


def _certificate(ingress: IngressSettings) -> ServedCertificate | None:
    """Return the certificate for HTTPS, or None where TLS ends before this program.

    Raises:
        SettingsError: a file cannot be used.
    """
    if ingress.tls_cert_file is None:
        return None
    return ServedCertificate(f"{PREFIX}INGRESS__TLS_", ingress.tls_cert_file, ingress.tls_key_file)
