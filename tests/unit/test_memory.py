"""The memory that a replica needs, compared with the limits in the code and with the docs."""

from pathlib import Path

import pytest
import yaml

from service.adapters.akeneo.client import REPLY_BYTES_MAX
from service.adapters.kafka.aiokafka_gaps import fetching, unpacking
from service.core import limits
from service.core.send.structure_cache import FAMILIES_KEPT_MAX
from service.settings import Settings, load, memory
from service.settings.memory import MIB, memory_bytes, memory_terms

ROOT = Path(__file__).parents[2]
MINIMUM = {"ASSET_SYNC_PIM__BASE_URL": "https://pim.example", "ASSET_SYNC_PIM__APP_TOKEN": "t"}


def settings(**given: str) -> Settings:
    """Return the settings with these values."""
    return load(MINIMUM | {f"ASSET_SYNC_{k}": v for k, v in given.items()}, None).settings


def test_the_sum_is_made_of_the_limits_of_the_code() -> None:
    """A limit that is raised in the code must raise the sum."""
    assert memory.POLL_BYTES == fetching.POLL_BYTES_MAX
    assert memory.KEPT_RECORD_BYTES_MIN == fetching.RECORD_KEPT_BYTES_MIN
    assert memory.RESPONSE_BYTES_MIN == fetching.RESPONSE_BYTES_MAX
    assert 64 * fetching.FETCH_BYTES_MAX + fetching.LARGE_BATCHES_BYTES_MAX == memory.FETCHED_BYTES
    assert memory.UNPACKING_BYTES == unpacking.LARGE_WINDOW_CONTENT_BYTES_MAX
    assert 1 << unpacking.ZSTD_WINDOW_LOG <= memory.UNPACKING_BYTES
    assert memory.OBJECTS_PER_PENDING_BYTE == limits.OCCUPIED_PER_PENDING_BYTE
    assert memory.ANSWER_BYTES == REPLY_BYTES_MAX
    assert 3 * limits.TRANSACTION_BYTES_MAX == memory.TRANSACTION_BYTES
    assert FAMILIES_KEPT_MAX * 24 * 1024 <= memory.STRUCTURES_BYTES


@pytest.mark.parametrize(
    ("name", "value", "more_mib"),
    [
        ("PIPELINE__MAX_PENDING_BYTES", "256MiB", 256),
        ("PIPELINE__MAX_PENDING_CHANGES", "138000", 1000),
        ("KAFKA__MAX_RECORD_BYTES", "11MiB", 329),
        ("PIM__MAX_CONCURRENCY", "8", 112),
        ("WINDOW__MAX_BYTES", "8MiB", 48),
    ],
)
def test_what_each_setting_adds(name: str, value: str, more_mib: int) -> None:
    """docs/operations.md has the same numbers."""
    assert memory_bytes(settings(**{name: value})) - memory_bytes(settings()) == more_mib * MIB


def test_the_chart_has_room_for_the_defaults() -> None:
    """There is room for batches of up to 60 MB."""
    values = yaml.safe_load((ROOT / "deploy/helm/asset-sync/values.yaml").read_text())
    limit = int(values["resources"]["limits"]["memory"].removesuffix("Mi")) * MIB
    assert memory_bytes(settings(), 60 * MIB) <= limit < memory_bytes(settings()) * 1.25


def test_the_docs_have_every_term() -> None:
    """docs/operations.md has each term with its size at the defaults."""
    text = (ROOT / "docs/operations.md").read_text()
    for term in memory_terms(settings()):
        assert f"| {term.what} |" in text
        assert f"| {term.size / MIB:.0f} |" in text
    assert f"**{memory_bytes(settings()) / MIB:.0f} MiB**" in text
