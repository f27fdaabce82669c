"""What a runner runs: a pure state machine, and the requests that it starts."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from service.core.effects import CommonEffect
from service.core.inputs import CommonInput
from service.core.model import Moment
from service.core.status import HeldBack, WorkStatus

OwnInput_contra = TypeVar("OwnInput_contra", contravariant=True)
OwnEffect_co = TypeVar("OwnEffect_co", covariant=True)
OwnEffect_contra = TypeVar("OwnEffect_contra", contravariant=True)


class Machine(Protocol[OwnInput_contra, OwnEffect_co]):
    """A pure state machine: `step(input, moment) → effects`."""

    def step(
        self, happened: CommonInput | OwnInput_contra, moment: Moment
    ) -> Sequence[CommonEffect | OwnEffect_co]:
        """Take what happened, and return what is to be done, in order."""
        ...

    def next_time(self) -> float | None:
        """Return when `TimePassed` is due at the latest, in monotonic seconds."""
        ...

    def status(self, now: float) -> WorkStatus:
        """Return what is open at this moment (monotonic seconds)."""
        ...

    def held_back(self) -> HeldBack:
        """Return what a release lets go."""
        ...


class Requests(Protocol[OwnEffect_contra]):
    """The requests of a machine, which it starts and cancels by effects of its own."""

    def perform(self, effect: OwnEffect_contra) -> None:
        """Carry out an effect of the machine's own."""
        ...

    async def close(self) -> None:
        """Cancel every request, and wait until all have ended."""
        ...
