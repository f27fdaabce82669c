"""What an event costs two bridges that are at work at the same time.

Rounds one after another meet different phases of the machine, so that the ratio of their costs
wanders by 15 %. Side by side both bridges meet the same phases.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.peers.bridges import Bridge
from benchmarks.peers.rounds import bridge_at_work
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
        ready = asyncio.Barrier(2)
        folders = [folder / f"{number}-{side}" for side in ("ours", "other")]
        for one in folders:
            one.mkdir()
        our_cost, other_cost = await asyncio.gather(
            _cost(ours, broker, folders[0], ready), _cost(other, broker, folders[1], ready)
        )
        ratios.append(our_cost / other_cost)
    return Ratios(ours, other, tuple(ratios))


async def _cost(
    bridge: Bridge, broker: EmbeddedKafka, folder: Path, ready: asyncio.Barrier
) -> float:
    """Return the CPU seconds per event, from a fifth of the outcomes to four fifths."""
    async with bridge_at_work(bridge, EVENTS, broker, folder) as going:
        await ready.wait()
        going.start()
        await going.until(0.2)
        first = going.mark()
        await going.until(0.8)
        took = going.mark().since(first)
        await going.until(0.95)  # the other one is not to be alone meanwhile
        return took.cpu_seconds / took.done
