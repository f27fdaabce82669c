"""Every limit of the core, a number with its unit. `settings` fills them in; nothing else does."""

from dataclasses import dataclass
from typing import Literal

CHANGES_PER_ASSET_MAX = 1_000
"""Changes of one asset in one batch: bounds the group that one transaction may not split."""

SPAN_PAUSE_OFFSETS = 20_000
"""Offsets between the watermark and the newest record at which a partition pauses."""

MAP_OFFSETS_MAX = 24_000
"""Offsets above the watermark that the offset map holds: 3,001 bytes, which with what binds them
are at most 4,061 of the 4,096 characters of commit metadata."""

TRANSACTION_OUTCOMES_MAX = 5_000
TRANSACTION_BYTES_MAX = 8 * 1024 * 1024

COMMIT_SILENCE_SECONDS = 15.0
"""No new calls while a transaction has been outstanding, or refused, for this long."""

BREAKER_SUSPICIONS = 3
BREAKER_PENDING_CHANGES = 1_000
"""Changes held at which intake pauses while the breaker is open and no GET is well."""

LANE_FAILURES_MAX = 3
DELAY_SECONDS_MIN = 0.5
DELAY_SECONDS_MAX = 30.0
RETRY_AFTER_SECONDS_MAX = 300.0

FAMILY_SEEN_SECONDS = 600.0
"""A write that succeeded this recently proves that its family exists."""

FAMILY_UNKNOWN_SECONDS = 30.0
"""How long changes of a family that the PIM does not know are rejected without asking again."""

FAMILY_LIST_SECONDS = 60.0
"""How long a complete list of families tells which ones are not there."""

FAMILIES_REMEMBERED_MAX = 10_000
"""Families that were seen, and families that are unknown, that are remembered: some bytes each."""

OCCUPIED_PER_PENDING_BYTE = 2
"""Intake pauses, too, when the pending changes occupy so much for each byte of their limit."""

REPAIR_SHARE_MAX = 0.25
"""Share of the pending limits that waiting for repair may hold."""

LAST_TRANSACTION_SECONDS = 10.0
"""After a drain's deadline, what the last transaction may still take."""

CREDENTIALS_NOTE_SECONDS = 60.0
"""Refused credentials are said this often."""


STRUCTURE_REST_SECONDS = 5.0
"""Between two readings of a family's structure for doubt's sake; the first is at once."""

STRUCTURE_RETRY_SECONDS = 60.0
"""After a reading that failed, how long values go as they came."""

OPTIONS_PER_SECOND_MAX = 3
"""Options created a second (akeneo.md §7)."""


Deletes = Literal["apply", "skip"]


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What bounds a record, and which types are ours."""

    record_bytes_max: int
    type_prefix: str = ""


@dataclass(frozen=True, slots=True)
class StructureOptions:
    """What is done with families' structures."""

    validate_values: bool = True
    create_options: bool = False
    default_locale: str | None = None
    max_age_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that the core decides by."""

    decode: DecodeLimits
    deletes: Deletes = "apply"
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
    """The last changes over which that share is counted."""
    structure: StructureOptions | None = None
    """None: values go as they came."""
    outcome_source: str = "/asset-sync/asset-sync"
    changes_per_asset_max: int = CHANGES_PER_ASSET_MAX
    span_pause_offsets: int = SPAN_PAUSE_OFFSETS
    map_offsets_max: int = MAP_OFFSETS_MAX
    transaction_outcomes_max: int = TRANSACTION_OUTCOMES_MAX
    transaction_bytes_max: int = TRANSACTION_BYTES_MAX
    breaker_pending_changes: int = BREAKER_PENDING_CHANGES
