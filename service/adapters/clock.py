"""The clock of this machine, behind the port `Clock`."""

import time

from service.core.model import Moment


class SystemClock:
    """Gives monotonic seconds and UTC milliseconds."""

    def now(self) -> Moment:
        return Moment(time.monotonic(), time.time_ns() // 1_000_000)
