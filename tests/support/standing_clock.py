"""A clock for tests in which no time passes."""

from service.core.model import Moment


class StandingClock:
    """A clock that stands."""

    def now(self) -> Moment:
        return Moment(0.0, 0)
