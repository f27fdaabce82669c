"""What the start of every program shares: its first log lines, its port, the tracer, the watch."""

from typing import TYPE_CHECKING

import structlog

from service import __version__
from service.adapters.http.admin_server import AdminServer
from service.adapters.kafka.consumer import DRAIN_MARGIN_SECONDS
from service.adapters.kafka.reach import ContactWatch
from service.apps.listening import listening
from service.ports import Observers
from service.settings import HttpSettings, KafkaSettings, Loaded, Settings, SettingsError

if TYPE_CHECKING:
    from service.adapters.telemetry.traces import Traces

GROUP_SILENCE_SECONDS_MAX = 60.0
"""How long the group may acknowledge no heartbeat, beyond its rebalance timeout."""


def log_start(loaded: Loaded) -> None:
    """Log what is unwise in the settings, where they come from, and which brokers are asked."""
    log = structlog.get_logger()
    for warning in loaded.warnings:
        log.warning("settings.unwise", message=warning)
    log.info("service.started", version=__version__, settings_from=list(loaded.sources))
    log.info("kafka.connecting", bootstrap_servers=loaded.settings.kafka.bootstrap_servers)


async def open_port(server: AdminServer, http: HttpSettings) -> None:
    """Listen on the port of the settings, and log which it is.

    Raises:
        FatalError: the address is in use, or does not belong to this machine.
    """
    with listening(http.host, http.port, "HTTP"):
        port = await server.open(http.host, http.port)
    structlog.get_logger().info("http.listening", port=port)


def contact_watch(kafka: KafkaSettings, drain_seconds: float, observers: Observers) -> ContactWatch:
    """Return the watch over a group. A rebalance may wait for the drain of each replica."""
    rebalance_seconds = drain_seconds + DRAIN_MARGIN_SECONDS
    silence_seconds_max = rebalance_seconds + GROUP_SILENCE_SECONDS_MAX
    return ContactWatch(kafka, silence_seconds_max, observers.note)


def traces_of(settings: Settings) -> "Traces | None":
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
