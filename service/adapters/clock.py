"""The machine's clock."""

import time

from service.core.model import Moment


class SystemClock:
    """Monotonic seconds and UTC milliseconds of this machine."""

    def now(self) -> Moment:
        """Now."""
        return Moment(time.monotonic(), time.time_ns() // 1_000_000)
