"""The memory that a replica needs, compared with the limits in the code and with the docs."""

import tracemalloc
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from service.adapters.akeneo.client import REPLY_BYTES_MAX
from service.adapters.kafka.aiokafka_gaps import fetching, unpacking
from service.adapters.media.folder import READ_BYTES
from service.adapters.media.transfer import BUFFER_BYTES
from service.core import limits
from service.core.media.remembered import (
    CODE_CHARACTERS_MAX,
    ETAG_CHARACTERS_MAX,
    Remembered,
    content_of,
)
from service.core.send.structure_cache import FAMILIES_KEPT_MAX
from service.mapping import json_values
from service.settings import Settings, load
from service.translation import limits as translation_limits
from tests.support import memory_sum
from tests.support.memory_sum import (
    MIB,
    Term,
    memory_bytes,
    memory_terms,
    source_terms,
    translate_bytes,
    translate_terms,
)

ROOT = Path(__file__).parents[2]
MINIMUM = {"ASSET_SYNC_PIM__BASE_URL": "https://pim.example", "ASSET_SYNC_PIM__APP_TOKEN": "t"}


def settings(**given: str) -> Settings:
    """Return the settings with these values."""
    return load(MINIMUM | {f"ASSET_SYNC_{k}": v for k, v in given.items()}, None).settings


def test_the_sum_is_made_of_the_limits_of_the_code() -> None:
    """A limit that is raised in the code must raise the sum."""
    assert memory_sum.POLL_BYTES == fetching.POLL_BYTES_MAX
    assert memory_sum.KEPT_RECORD_BYTES_MIN == fetching.RECORD_KEPT_BYTES_MIN
    assert memory_sum.RESPONSE_BYTES_MIN == fetching.RESPONSE_BYTES_MAX
    assert (
        64 * fetching.FETCH_BYTES_MAX + fetching.LARGE_BATCHES_BYTES_MAX == memory_sum.FETCHED_BYTES
    )
    assert memory_sum.UNPACKING_BYTES == unpacking.LARGE_WINDOW_CONTENT_BYTES_MAX
    assert 1 << unpacking.ZSTD_WINDOW_LOG <= memory_sum.UNPACKING_BYTES
    assert memory_sum.OBJECTS_PER_PENDING_BYTE == limits.OCCUPIED_PER_PENDING_BYTE
    assert memory_sum.ANSWER_BYTES == REPLY_BYTES_MAX
    assert 3 * limits.TRANSACTION_BYTES_MAX == memory_sum.TRANSACTION_BYTES
    assert FAMILIES_KEPT_MAX * 24 * 1024 <= memory_sum.STRUCTURES_BYTES
    assert 3 * BUFFER_BYTES + READ_BYTES <= memory_sum.TRANSFER_BYTES
    assert memory_sum.CHANGES_BYTES == translation_limits.CHANGES_BYTES_MAX
    assert memory_sum.CHANGES_BYTES >= translation_limits.TRANSACTION_BYTES_MAX
    most = json_values.TOKENS_MAX * json_values.TOKEN_BYTES
    assert most <= memory_sum.EVENT_OBJECTS_PER_BYTE * MIB


def test_a_remembered_file_takes_no_more_than_is_said() -> None:
    """With the longest ETag and code that are remembered."""
    count = 5_000
    remembered = Remembered(count)
    tracemalloc.start()
    try:
        for number in range(count):
            content = content_of(sha256(str(number).encode()).hexdigest(), f"jp{number % 10}")
            remembered.note_code(content, f"{number:08}".ljust(CODE_CHARACTERS_MAX, "x"))
            etag = f'"{number:08}'.ljust(ETAG_CHARACTERS_MAX, "x")
            remembered.note_seen(f"https://dam.example/{number}", etag, content)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(remembered) == count
    assert 0.5 * memory_sum.REMEMBERED_BYTES < taken / count <= memory_sum.REMEMBERED_BYTES


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


@pytest.mark.parametrize(
    ("given", "more_mib"),
    [
        ({"sources": 3}, 240),
        ({"answer_bytes": 4 * MIB}, 12),
        ({"largest_batch_bytes": 60 * MIB}, 112),
    ],
)
def test_what_the_sources_add(given: dict[str, int], more_mib: int) -> None:
    """docs/operations.md and the chart's tests have the same numbers."""
    more = translate_bytes(settings(), **({"sources": 1} | given))
    assert more - translate_bytes(settings(), 1) == more_mib * MIB


@pytest.mark.parametrize(
    ("name", "value", "more_mib"),
    [
        ("PIPELINE__MAX_PENDING_BYTES", "256MiB", 256),
        ("PIPELINE__MAX_PENDING_CHANGES", "138000", 1000),
        ("KAFKA__MAX_RECORD_BYTES", "11MiB", 320 + 20 + 9 + 10),
    ],
)
def test_what_each_setting_adds_to_translate(name: str, value: str, more_mib: int) -> None:
    more = translate_bytes(settings(**{name: value}), 1)
    assert more - translate_bytes(settings(), 1) == more_mib * MIB


@pytest.mark.parametrize(
    ("given", "more_mib"),
    [
        ({}, 250),
        ({"MEDIA__REMEMBER": "0"}, 6),
        ({"MEDIA__REMEMBER": "0", "MEDIA__MAX_CONCURRENCY": "10"}, 12),
        ({"MEDIA__REMEMBER": "819200", "PIM__MAX_CONCURRENCY": "1"}, 1005 - 3 * 28),
    ],
)
def test_what_media_files_add(given: dict[str, str], more_mib: int) -> None:
    """Only where they are on; docs/operations.md has the same numbers."""
    more = memory_bytes(settings(MEDIA__PRIVATE_HOSTS="dam", **given)) - memory_bytes(settings())
    assert round(more / MIB) == more_mib
    assert memory_bytes(settings(MEDIA__MAX_CONCURRENCY="10")) == memory_bytes(settings())


def limit_of(*path: str) -> int:
    """Return a default memory limit of the chart in bytes."""
    found = yaml.safe_load((ROOT / "deploy/helm/asset-sync/values.yaml").read_text())
    for name in path:
        found = found[name]
    return int(found["resources"]["limits"]["memory"].removesuffix("Mi")) * MIB


def test_the_chart_has_room_for_the_defaults() -> None:
    """There is room for batches of up to 60 MB, or three sources that read back."""
    assert memory_bytes(settings(), 60 * MIB) <= limit_of() < memory_bytes(settings()) * 1.25
    three, four = (translate_bytes(settings(), count, count * 4 * MIB) for count in (3, 4))
    assert three <= limit_of("translate") < four


@pytest.mark.parametrize(
    ("heading", "terms"),
    [
        ("### run", memory_terms(settings())),
        ("### translate", translate_terms(settings())),
        ("### translate", source_terms(settings())),
    ],
    ids=["run", "translate", "each source"],
)
def test_the_docs_have_every_term(heading: str, terms: list[Term]) -> None:
    """docs/operations.md has each term with its size at the defaults, and the sum."""
    _, _, after = (ROOT / "docs/operations.md").read_text().partition(heading + "\n")
    text, _, _ = after.partition("\n### ")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    sizes = {(row[0], row[-1]) for row in rows}
    assert {(term.what, f"{term.size / MIB:.0f}") for term in terms} <= sizes
    assert f"**{sum(term.size for term in terms) / MIB:.0f} MiB**" in text
