"""How to connect, written once for consumer, producer, admin client and FastStream."""

import logging
import ssl
from collections.abc import Callable
from typing import Any

from aiokafka import codec
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from service.adapters.tls import context, show_certificate
from service.settings import PREFIX, KafkaSettings, SettingsError

REQUEST_TIMEOUT_MS = 20_000
PRODUCER_METADATA_SECONDS_MAX = 10
"""Partitions that are added to a topic are written to after this time (aiokafka's own: 300 s)."""


_INSTALLED: dict[str, Callable[[], bool]] = {
    "gzip": codec.has_gzip,
    "snappy": codec.has_snappy,
    "lz4": codec.has_lz4,
    "zstd": codec.has_zstd,
}


def connection(kafka: KafkaSettings) -> dict[str, Any]:
    """What every aiokafka client takes."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "client_id": kafka.client_id,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.startswith("SASL"):
        assert kafka.sasl_password is not None
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password.get_secret_value(),
        }
    if kafka.security_protocol.endswith("SSL"):
        options["ssl_context"] = tls(kafka)
    return options


def producing(kafka: KafkaSettings) -> dict[str, Any]:
    """What every producer takes.

    Raises:
        SettingsError: a file cannot be used, or the compression is not installed.
    """
    return {
        **connection(kafka),
        "compression_type": compression(kafka),
        "metadata_max_age_ms": PRODUCER_METADATA_SECONDS_MAX * 1000,
    }


def compression(kafka: KafkaSettings) -> str | None:
    """The compression as aiokafka names it.

    Raises:
        SettingsError: it is not installed.
    """
    if kafka.compression == "none":
        return None
    if not _INSTALLED[kafka.compression]():
        raise SettingsError(
            f"{PREFIX}KAFKA__COMPRESSION={kafka.compression} needs the package cramjam, which is "
            "not installed. Install it, or set none or gzip."
        )
    return kafka.compression


def security(kafka: KafkaSettings) -> BaseSecurity | None:
    """The same for FastStream."""
    ssl_context = tls(kafka) if kafka.security_protocol.endswith("SSL") else None
    use_ssl = ssl_context is not None
    if not kafka.security_protocol.startswith("SASL"):
        return BaseSecurity(ssl_context=ssl_context, use_ssl=True) if use_ssl else None
    assert kafka.sasl_password is not None
    assert kafka.sasl_mechanism is not None
    kinds: dict[str, type[SASLPlaintext | SASLScram256 | SASLScram512]] = {
        "PLAIN": SASLPlaintext,
        "SCRAM-SHA-256": SASLScram256,
        "SCRAM-SHA-512": SASLScram512,
    }
    return kinds[kafka.sasl_mechanism](
        username=kafka.sasl_username or "",
        password=kafka.sasl_password.get_secret_value(),
        ssl_context=ssl_context,
        use_ssl=use_ssl,
    )


def tls(kafka: KafkaSettings) -> ssl.SSLContext:
    """The system's CAs, a private one, and the client's certificate where it has one.

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


_SAID_BY_US = ("NotEnoughReplicas", "Unexpected error in sender routine")


class _Quiet(logging.Filter):
    """Silences aiokafka, and remembers why a broker could not be connected to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_mute = False
        self.last_refusal: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is news."""
        message = record.getMessage()
        is_away = "Unable connect to" in message
        if is_away and isinstance(record.args, tuple):
            self.last_refusal = next(
                (part for part in record.args if isinstance(part, BaseException)), None
            )
        # Back-to-back transactions: the broker is still writing the last one's markers.
        # A sender that ended, and a broker that is away: said once, by us.
        is_ours = any(words in message for words in _SAID_BY_US)
        return not self.is_mute and not is_away and not is_ours


_quiet = _Quiet()


def quieten_aiokafka(*, entirely: bool = False) -> None:
    """Silence what aiokafka says of things that are ordinary here (kafka.md §2, §5), or all."""
    _quiet.is_mute = entirely
    for name in ("aiokafka", "aiokafka.producer.sender"):
        logging.getLogger(name).addFilter(_quiet)
    if entirely:
        logging.getLogger("aiokafka").addHandler(logging.NullHandler())


def last_refusal() -> BaseException | None:
    """Why the last connection to a broker failed: aiokafka only logs it."""
    refusal = _quiet.last_refusal
    # A broker that wants a certificate says so once TLS stands: a connection that is cut.
    cause = None if refusal is None else refusal.__cause__
    return cause if isinstance(cause, ssl.SSLError) else refusal
