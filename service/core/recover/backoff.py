"""How long to wait after failures in a row."""

from collections.abc import Callable

from service.core.limits import DELAY_SECONDS_MAX, DELAY_SECONDS_MIN

Jitter = Callable[[], float]
"""A fresh number in [0, 1): the only chance in the core, handed in."""


def delay(failures: int, jitter: Jitter) -> float:
    """Seconds to wait after this many failures in a row (1, 2, …): full jitter, doubling."""
    return delay_max(failures) * jitter()


def delay_max(failures: int) -> float:
    """Return the longest that `delay` may be after this many failures in a row, in seconds."""
    assert failures >= 1
    ceiling: float = min(DELAY_SECONDS_MAX, DELAY_SECONDS_MIN * 2 ** min(failures - 1, 10))
    return ceiling
