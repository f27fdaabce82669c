"""The state of a simulated PIM: what its routes read and change, and what its users look at."""

import asyncio
from collections import Counter, deque

from service.playground.pim.assets import Asset, Assets
from service.playground.pim.faults import Fault, Faults
from service.playground.pim.responses import RefusedError
from service.playground.pim.structure import Attribute, Family, Structure
from service.playground.pim.switches import Switches
from service.playground.pim.tokens import Tokens

Connection = asyncio.Transport


class PimSimulator:
    """One PIM; by default its limits are those of the real one.

    Args:
        structure: families, attributes, options and channels.
        switches: what Akeneo's documents leave open.
        call_seconds: how long each call takes.
        calls_at_once_max: calls above this number at once are answered 429.
        calls_per_second_max: calls above this number in a second are answered 429.
    """

    def __init__(
        self,
        structure: Structure,
        *,
        switches: Switches | None = None,
        call_seconds: float = 0.0,
        calls_at_once_max: int = 4,
        calls_per_second_max: int = 100,
    ) -> None:
        self.structure = structure
        self.switches = switches or Switches()
        self.call_seconds = call_seconds
        self.calls_at_once_max = calls_at_once_max
        self.calls_per_second_max = calls_per_second_max
        self.tokens = Tokens()
        self.faults = Faults()
        self.media: dict[str, bytes] = {}
        self.assets = Assets(structure, self.switches, self.media)
        self.rights = {"read", "write", "delete", "structure"}
        """The rights of the connection; a call that lacks its right is answered 403."""
        self.counts: Counter[str] = Counter()
        """Calls by fault route, and `throttled`."""
        self.at_once_seen = 0
        """The highest number of calls that were in flight at once."""
        self.in_flight: dict[Connection, float] = {}
        """Connections whose call is being carried out, and since when (monotonic)."""
        self.recent_calls: deque[float] = deque()
        """When calls were let through (monotonic), for the limit of calls per second."""

    @property
    def state(self) -> dict[tuple[str, str], Asset]:
        """The assets, by (family, code)."""
        return self.assets.by_key

    @property
    def writes(self) -> int:
        """The number of upsert and delete calls that came in."""
        return self.counts["upsert"] + self.counts["delete"]

    def go_down(self) -> None:
        """Answer every request 503 until `come_back`."""
        self.faults.add(Fault(route="any", status=503, times=None))

    def come_back(self) -> None:
        self.faults.clear()

    def family(self, code: str) -> Family:
        """Return the family with this code.

        Raises:
            RefusedError: 404, there is no such family.
        """
        found = self.structure.families.get(code)
        if found is None:
            raise RefusedError(404, f'Asset family "{code}" does not exist.')
        return found

    def attribute(self, family: str, code: str) -> Attribute:
        """Return the attribute with this code of a family.

        Raises:
            RefusedError: 404, there is no such family or attribute.
        """
        found = (self.family(family).attributes or {}).get(code)
        if found is None:
            raise RefusedError(404, f'Attribute "{code}" does not exist.')
        return found
