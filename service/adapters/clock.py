"""The clock of this machine, behind the port `Clock`."""

import time

from service.core.model import Moment
from service.ports import clock_seconds


class SystemClock:
    """Gives monotonic seconds and UTC milliseconds."""

    def now(self) -> Moment:
        return Moment(clock_seconds(), time.time_ns() // 1_000_000)
