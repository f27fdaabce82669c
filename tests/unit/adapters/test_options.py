"""Options of Kafka clients: compressions, and why a connection failed."""

import logging
import ssl

import pytest
from aiokafka import AIOKafkaProducer, codec

from service.adapters.kafka import options
from service.adapters.kafka.options import producing
from service.settings import KafkaSettings, SettingsError

CODECS = ["gzip", "snappy", "lz4", "zstd"]


@pytest.mark.parametrize("name", ["snappy", "lz4", "zstd"])
def test_a_codec_that_is_not_installed_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the setting, the missing package and the remedy, before any connection."""
    monkeypatch.setattr(codec, "cramjam", None)

    with pytest.raises(SettingsError) as caught:
        producing(KafkaSettings.model_validate({"compression": name}))

    assert str(caught.value) == (
        f"ASSET_SYNC_KAFKA__COMPRESSION={name} needs the package cramjam, which is not installed. "
        "Install it, or set none or gzip."
    )


@pytest.mark.parametrize("name", ["none", "gzip"])
def test_what_python_itself_has_needs_no_codec(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default always works, and so does gzip."""
    monkeypatch.setattr(codec, "cramjam", None)
    made = producing(KafkaSettings.model_validate({"compression": name}))

    assert made["compression_type"] == (None if name == "none" else name)


@pytest.mark.parametrize("name", CODECS)
def test_what_is_installed_is_used(name: str) -> None:
    """The lock of this project has all codecs of the setting."""
    assert options.compression(KafkaSettings.model_validate({"compression": name})) == name


@pytest.fixture(autouse=True)
def unrefused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection failed before."""
    monkeypatch.setattr(options, "_filter", options._AiokafkaFilter())


def failed_connection(why: Exception) -> None:
    """Let aiokafka's log record of a failed connection pass the filter."""
    record = logging.LogRecord(
        "aiokafka", logging.ERROR, __file__, 1, "Unable connect to node with id %s: %s", (1, why),
        None,
    )  # fmt: skip
    assert not options._filter.filter(record), "asset-sync logs it itself"


def test_the_reason_of_a_failed_connection_is_kept() -> None:
    """Only the last one counts."""
    assert options.last_refusal() is None
    failed_connection(ConnectionRefusedError("first"))
    failed_connection(last := ConnectionRefusedError("last"))

    assert options.last_refusal() is last


def test_a_refused_certificate_is_the_reason_of_an_ended_connection() -> None:
    """A broker that requires a certificate ends the connection after the handshake."""
    ended = ConnectionError("connection lost")
    ended.__cause__ = ssl.SSLError("tlsv13 alert certificate required")
    failed_connection(ended)

    assert options.last_refusal() is ended.__cause__


async def test_idle_connections_are_closed_before_a_network_forgets_them() -> None:
    """Four minutes, in some clouds; aiokafka's own limit is nine."""
    kafka = KafkaSettings.model_validate({})
    producer = AIOKafkaProducer(**producing(kafka))
    assert producer.client._connections_max_idle_ms <= 180_000
    await producer.stop()
