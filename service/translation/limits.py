"""Every limit of a translation, each with its unit. `TranslationLimits` holds those set outside."""

from dataclasses import dataclass

CHANGES_BYTES_MAX = 16 * 1024 * 1024
"""Most bytes of the changes of one raw record together; a record that gives more is rejected."""

TRANSACTION_RECORDS_MAX = 5_000
"""Most changes and outcomes of one transaction, unless a single raw record gives more."""

TRANSACTION_BYTES_MAX = 8 * 1024 * 1024
"""Most bytes of changes and outcomes in one transaction, unless a single record gives more."""


@dataclass(frozen=True, slots=True)
class TranslationLimits:
    """The limits of one source that the settings give."""

    record_bytes_max: int
    """Of a raw record and of a change: key, value and headers."""
    pending_items_max: int = 10_000
    """Intake pauses when this many items of raw records are pending."""
    pending_bytes_max: int = 128 * 1024 * 1024
    commit_interval_seconds: float = 0.1
    dead_letter_share_max: float = 0.5
    dead_letter_share_items: int = 1_000
    """The number of last items, not skipped, over which `dead_letter_share_max` is counted."""
    deletes_per_hour_max: int = 0
    """Items that may become deletes in an hour before an operator has to look; 0 means any."""
