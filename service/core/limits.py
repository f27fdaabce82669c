"""Every limit of the core, each with its unit. `Limits` holds those that are set from outside."""

from dataclasses import dataclass
from typing import Literal

CHANGES_PER_ASSET_MAX = 1_000
"""Most changes of one asset in one batch. It bounds the group that a transaction may not split."""

SPAN_PAUSE_OFFSETS = 20_000
"""A partition pauses when its span is this long, because the offset map covers only so much."""

MAP_OFFSETS_MAX = 24_000
"""Offsets above the watermark that the offset map covers. They take 3,001 bytes; in base64 with the
binding at most 4,061 characters of the 4,096 that Kafka allows for commit metadata."""

TRANSACTION_OUTCOMES_MAX = 5_000
TRANSACTION_BYTES_MAX = 8 * 1024 * 1024
TRANSACTION_BYTES_MIN = 64 * 1024
"""A transaction may always have so many bytes, however slow Kafka is. By as many its limit grows
again after each that was quick."""

WAIT_FOR_MORE_SECONDS = 0.5
"""Seconds from one transaction to the next while the next one may wait for more outcomes."""

FULL_TRANSACTION_SHARE = 0.2
"""The share of the limit on pending changes from which on the groups of outcomes that are known do
not wait for more."""

COMMIT_SILENCE_SECONDS = 15.0
"""No new calls start after a transaction has been outstanding or refused for this long."""

BREAKER_SUSPICIONS = 3
BREAKER_PENDING_CHANGES = 1_000
"""Intake pauses at this many pending changes while the breaker is open and GETs fail too."""

LANE_FAILURES_MAX = 3
DELAY_SECONDS_MIN = 0.5
DELAY_SECONDS_MAX = 30.0
RETRY_AFTER_SECONDS_MAX = 300.0
"""A longer pause that the PIM or a source of files asks for is cut to this."""

FAMILY_SEEN_SECONDS = 600.0
"""For this long, a write that succeeded proves that its family exists."""

FAMILY_UNKNOWN_SECONDS = 30.0
"""For this long, changes of an unknown family are rejected without asking the PIM again."""

FAMILY_LIST_SECONDS = 60.0
"""For this long, a family that a complete list of families leaves out counts as unknown."""

FAMILIES_REMEMBERED_MAX = 10_000
"""Most families that are remembered as existing, and most as unknown."""

OCCUPIED_PER_PENDING_BYTE = 2
"""Intake also pauses when pending changes occupy this many bytes of memory for each byte of
`pending_bytes_max`."""

RESUMED_SHARE = 0.5
"""The share of a pending limit at which intake resumes; from it on there may be a backlog."""

REPAIR_SHARE_MAX = 0.25
"""The largest share of the pending limits that the changes of failing assets and lanes may hold."""

LAST_TRANSACTION_SECONDS = 10.0
"""The last transaction may take this much longer than a drain's deadline."""

CREDENTIALS_NOTE_SECONDS = 60.0
"""Refused credentials are logged at most this often."""


STRUCTURE_REFRESH_SECONDS_MIN = 5.0
"""Shortest time between two fetches of a stale structure; the first is at once."""

STRUCTURE_RETRY_SECONDS = 60.0
"""After a structure could not be fetched, values are sent unshaped for this long."""

OPTIONS_PER_SECOND_MAX = 3
"""Most options created per second (akeneo.md §7)."""


Deletes = Literal["apply", "skip"]


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """The largest record that is decoded, and the prefix of accepted CloudEvents types."""

    record_bytes_max: int
    type_prefix: str = ""


@dataclass(frozen=True, slots=True)
class StructureOptions:
    """Whether and how values are checked against the structures of families."""

    validate_values: bool = True
    create_options: bool = False
    default_locale: str | None = None
    max_age_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class MediaOptions:
    """From where files may be fetched, and what they may take."""

    hosts: frozenset[str] = frozenset()
    """Names of hosts, or `*.` and a domain for every name below it. None: media are off."""
    private_hosts: frozenset[str] = frozenset()
    """Names of hosts that may have any address, and be asked without TLS."""
    file_bytes_max: int = 200 * 1024 * 1024
    disk_bytes_max: int = 2 * 1024 * 1024 * 1024
    """Most bytes of all files on disk, and of those that are being fetched."""
    downloads_at_once_max: int = 4
    remembered_max: int = 200_000
    """How many of the newest uploads are remembered."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that the core works with; `service/settings/model.py` fills them in."""

    decode: DecodeLimits
    deletes: Deletes = "apply"
    deletes_per_hour_max: int = 1_000
    """Most deletes of one family in an hour, beyond which they wait for a release; 0: no limit."""
    window_seconds_max: float = 2.0
    window_assets_max: int = 100
    window_bytes_max: int = 4 * 1024 * 1024
    calls_at_once_max: int = 4
    calls_per_second_max: int = 50
    retry_attempts_max: int = 8
    retry_seconds_max: float = 300.0
    pending_changes_max: int = 10_000
    pending_bytes_max: int = 128 * 1024 * 1024
    commit_interval_seconds: float = 0.1
    dead_letter_share_max: float = 0.5
    dead_letter_share_changes: int = 1_000
    """The number of last changes over which `dead_letter_share_max` is counted."""
    structure: StructureOptions | None = None
    """None means that values are sent without a check against the family."""
    media: MediaOptions = MediaOptions()
    outcome_source: str = "/asset-sync/asset-sync"
    changes_per_asset_max: int = CHANGES_PER_ASSET_MAX
    span_pause_offsets: int = SPAN_PAUSE_OFFSETS
    map_offsets_max: int = MAP_OFFSETS_MAX
    transaction_outcomes_max: int = TRANSACTION_OUTCOMES_MAX
    transaction_bytes_max: int = TRANSACTION_BYTES_MAX
    transaction_bytes_min: int = TRANSACTION_BYTES_MIN
    breaker_pending_changes: int = BREAKER_PENDING_CHANGES
