"""The delay after consecutive failures: exponential backoff with full jitter."""

from collections.abc import Callable

from service.core.limits import DELAY_SECONDS_MAX, DELAY_SECONDS_MIN

Jitter = Callable[[], float]
"""Returns a random number in [0, 1). It is the only randomness in the core, and is passed in."""


def delay(failures: int, jitter: Jitter) -> float:
    """Return the seconds to wait after this many failures in a row (1, 2, …), with full jitter."""
    return delay_max(failures) * jitter()


def delay_max(failures: int) -> float:
    """Return the longest that `delay` may be after this many failures in a row, in seconds."""
    assert failures >= 1
    ceiling: float = min(DELAY_SECONDS_MAX, DELAY_SECONDS_MIN * 2 ** min(failures - 1, 10))
    return ceiling
