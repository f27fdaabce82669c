"""What an event costs two bridges that are at work at the same time.

Rounds one after another meet different phases of the machine, so that the ratio of their costs
wanders by 15 %. Side by side both bridges meet the same phases.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.peers.bridges import Bridge
from benchmarks.peers.rounds import Round, bridge_at_work
from service.playground.embedded_kafka import EmbeddedKafka

EVENTS = 40_000
ROUNDS = 9


@dataclass(frozen=True)
class Ratios:
    """The CPU that an event took one bridge, divided by that of the other, in each round."""

    ours: Bridge
    other: Bridge
    ratios: tuple[float, ...]

    @property
    def text(self) -> str:
        """The median and the range."""
        low, high = min(self.ratios), max(self.ratios)
        return f"{median(self.ratios):.2f} in the median ({low:.2f} to {high:.2f})"


async def beside(ours: Bridge, other: Bridge, broker: EmbeddedKafka, folder: Path) -> Ratios:
    """Measure the cost of both bridges, several times."""
    ratios = []
    for number in range(ROUNDS):
        folders = folder / f"{number}-ours", folder / f"{number}-other"
        for one in folders:
            one.mkdir()
        async with (
            bridge_at_work(ours, EVENTS, broker, folders[0]) as first,
            bridge_at_work(other, EVENTS, broker, folders[1]) as second,
        ):
            ratios.append(await _ratio(first, second))
    return Ratios(ours, other, tuple(ratios))


async def _ratio(ours: Round, other: Round) -> float:
    """Return the ratio of the CPU seconds per event, measured while both are at work.

    Both are measured until the quicker one has four fifths of its outcomes. Alone, the other one
    would have the cores and their caches to itself for the rest of its events.
    """
    both = ours, other
    for one in both:
        one.start()
    await asyncio.gather(*(one.until(0.2) for one in both))
    begun = [one.mark() for one in both]
    ends = [asyncio.ensure_future(one.until(0.8)) for one in both]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    our_cost, other_cost = (
        (took := one.mark().since(first)).cpu_seconds / took.done
        for one, first in zip(both, begun, strict=True)
    )
    for end in ends:
        end.cancel()
    return our_cost / other_cost
