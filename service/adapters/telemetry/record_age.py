"""When the age of a record begins, without trusting its producer's clock blindly.

A producer may stamp seconds instead of milliseconds, or old events with their old times. Such an
age would say nothing about asset-sync.
"""

from typing import Literal

DAY_MS = 86_400_000
"""How long before it was read a record may have been written, for its timestamp to be used."""


def flaw_of_time(
    written_utc_ms: int, received_utc_ms: int
) -> Literal["missing", "future", "older_than_a_day"] | None:
    """Return what is wrong with the timestamp of a record; None if its age can be measured."""
    if written_utc_ms < 0:
        return "missing"
    if written_utc_ms > received_utc_ms:
        return "future"
    return "older_than_a_day" if received_utc_ms - written_utc_ms > DAY_MS else None


def begins_utc_ms(written_utc_ms: int, received_utc_ms: int) -> int:
    """Return the timestamp if it can be used, else when the record was read."""
    return received_utc_ms if flaw_of_time(written_utc_ms, received_utc_ms) else written_utc_ms
