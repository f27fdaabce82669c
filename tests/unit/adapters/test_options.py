"""Options of Kafka clients for compressions whose codec is not installed."""

import pytest
from aiokafka import codec

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
