"""How to connect, written once for consumer, producer, admin client and FastStream."""

import logging
import ssl
from typing import Any

from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from service.settings import KafkaSettings

REQUEST_TIMEOUT_MS = 20_000


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
    """The system's CAs, a private one, and the client's certificate where it has one."""
    context = ssl.create_default_context()
    if kafka.ssl_ca_file is not None:
        context.load_verify_locations(kafka.ssl_ca_file)
    if kafka.ssl_cert_file is not None:
        password = kafka.ssl_key_password
        context.load_cert_chain(
            kafka.ssl_cert_file,
            kafka.ssl_key_file,
            password.get_secret_value() if password else None,
        )
    return context


def quieten_aiokafka() -> None:
    """Silence what aiokafka says of things that are ordinary here (kafka.md §2, §5)."""

    def is_news(record: logging.LogRecord) -> bool:
        # Back-to-back transactions: the broker is still writing the last one's markers.
        # A broker that is away: said once, by us.
        message = record.getMessage()
        return "NotEnoughReplicas" not in message and "Unable connect to" not in message

    for name in ("aiokafka", "aiokafka.producer.sender"):
        logging.getLogger(name).addFilter(is_news)
