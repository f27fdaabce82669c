"""Connection options for consumer, producer, admin client and FastStream, from the settings."""

import logging
import ssl
from collections.abc import Callable
from typing import Any

from aiokafka import codec
from faststream.security import (
    BaseSecurity,
    SASLOAuthBearer,
    SASLPlaintext,
    SASLScram256,
    SASLScram512,
)

from service.adapters.kafka.oauth_login import TokenLogin
from service.adapters.tls import context, show_certificate
from service.settings import PREFIX, KafkaSettings, SettingsError

REQUEST_TIMEOUT_MS = 20_000
REQUEST_BYTES_MAX = 64 * 1024 * 1024
"""The limit of a producer, high enough that the limit of the topic decides."""
TRANSACTION_TIMEOUT_MS = 10_000
"""How long the open transaction of a killed replica blocks its successor and committed readers."""
START_SECONDS_MAX = 60.0
"""How long the start waits for a broker that cannot be reached."""
IDLE_MS_MAX = 180_000
"""How long a connection may be idle before it is closed. Some networks of clouds forget it after
four minutes without a word, and the next request waits in vain (aiokafka's own: nine minutes)."""
RETRY_SECONDS = 1.0
"""Waiting time before a request is sent again, while Kafka cannot be reached."""
PRODUCER_METADATA_SECONDS_MAX = 10
"""A partition that is added to a topic is written to after this time (aiokafka's own: 300 s)."""


_INSTALLED: dict[str, Callable[[], bool]] = {
    "gzip": codec.has_gzip,
    "snappy": codec.has_snappy,
    "lz4": codec.has_lz4,
    "zstd": codec.has_zstd,
}


def connection(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the options that every aiokafka client takes."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "client_id": kafka.client_id,
        "security_protocol": kafka.security_protocol,
        "connections_max_idle_ms": IDLE_MS_MAX,
    }
    if kafka.security_protocol.startswith("SASL"):
        options |= {"sasl_mechanism": kafka.sasl_mechanism, **_login(kafka)}
    if kafka.security_protocol.endswith("SSL"):
        options["ssl_context"] = tls(kafka)
    return options


def _login(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the options with which a client logs in."""
    if kafka.sasl_mechanism == "OAUTHBEARER":
        return {"sasl_oauth_token_provider": TokenLogin(kafka)}
    assert kafka.sasl_password is not None
    return {
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": kafka.sasl_password.get_secret_value(),
    }


def producing(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the options that every producer takes.

    Raises:
        SettingsError: a file cannot be used, or the compression is not installed.
    """
    return {
        **connection(kafka),
        "compression_type": compression(kafka),
        "metadata_max_age_ms": PRODUCER_METADATA_SECONDS_MAX * 1000,
        "max_request_size": REQUEST_BYTES_MAX,
    }


def compression(kafka: KafkaSettings) -> str | None:
    """Return aiokafka's name of the compression, or None for no compression.

    Raises:
        SettingsError: the compression is not installed.
    """
    if kafka.compression == "none":
        return None
    if not _INSTALLED[kafka.compression]():
        raise SettingsError(
            f"{PREFIX}KAFKA__COMPRESSION={kafka.compression} needs the package cramjam, which is "
            "not installed. Install it, or set none or gzip."
        )
    return kafka.compression


def security(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the connection's security as FastStream's broker takes it.

    Raises:
        SettingsError: a file or a URL cannot be used.
    """
    ssl_context = tls(kafka) if kafka.security_protocol.endswith("SSL") else None
    use_ssl = ssl_context is not None
    over: dict[str, Any] = {"ssl_context": ssl_context, "use_ssl": use_ssl}
    if not kafka.security_protocol.startswith("SASL"):
        return {"security": BaseSecurity(**over) if use_ssl else None}
    if kafka.sasl_mechanism == "OAUTHBEARER":
        return {"security": SASLOAuthBearer(**over), **_login(kafka)}
    assert kafka.sasl_password is not None
    assert kafka.sasl_mechanism is not None
    kinds: dict[str, type[SASLPlaintext | SASLScram256 | SASLScram512]] = {
        "PLAIN": SASLPlaintext,
        "SCRAM-SHA-256": SASLScram256,
        "SCRAM-SHA-512": SASLScram512,
    }
    password = kafka.sasl_password.get_secret_value()
    login = kinds[kafka.sasl_mechanism](kafka.sasl_username or "", password, **over)
    return {"security": login}


def tls(kafka: KafkaSettings) -> ssl.SSLContext:
    """Return a TLS context with the system's CAs, a private CA and the client's certificate.

    The private CA and the client's certificate are there only where the settings have them.

    Raises:
        SettingsError: a file cannot be used.
    """
    password = kafka.ssl_key_password
    made = context(f"{PREFIX}KAFKA__SSL_CA_FILE", kafka.ssl_ca_file)
    show_certificate(
        made,
        f"{PREFIX}KAFKA__SSL_",
        kafka.ssl_cert_file,
        kafka.ssl_key_file,
        password.get_secret_value() if password else None,
    )
    return made


_LOGGED_BY_ASSET_SYNC = ("NotEnoughReplicas", "Unexpected error in sender routine")


class _AiokafkaFilter(logging.Filter):
    """Drops log records of aiokafka, and keeps the reason of the last failed connection."""

    def __init__(self) -> None:
        super().__init__()
        self.is_mute = False
        self.last_refusal: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        has_no_connection = "Unable connect to" in message
        if has_no_connection and isinstance(record.args, tuple):
            self.last_refusal = next(
                (part for part in record.args if isinstance(part, BaseException)), None
            )
        # NotEnoughReplicas is harmless between back-to-back transactions: the broker still writes
        # the markers of the last one. The rest is logged once, by asset-sync itself.
        is_known = any(text in message for text in _LOGGED_BY_ASSET_SYNC)
        return not self.is_mute and not has_no_connection and not is_known


_filter = _AiokafkaFilter()


def quieten_aiokafka(*, entirely: bool = False) -> None:
    """Silence aiokafka's log records about ordinary events (kafka.md §2, §5), or all of them."""
    _filter.is_mute = entirely
    for name in ("aiokafka", "aiokafka.producer.sender"):
        logging.getLogger(name).addFilter(_filter)
    if entirely:
        logging.getLogger("aiokafka").addHandler(logging.NullHandler())


def last_refusal() -> BaseException | None:
    """Return why the last connection to a broker failed, which aiokafka only logs."""
    refusal = _filter.last_refusal
    # A broker that requires a certificate refuses it after the handshake, by ending the connection.
    cause = None if refusal is None else refusal.__cause__
    return cause if isinstance(cause, ssl.SSLError) else refusal
