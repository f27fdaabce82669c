"""One write call: which assets it carries, and what is held against it so far."""

from dataclasses import dataclass, field

from service.contracts.outcome import DELETE, Action
from service.core.group.asset_work import AssetWork
from service.core.model import Asset, Origin
from service.core.requests import DeleteOne, Exchange, Request, UpsertAssets
from service.core.verdicts import Failure, Verdict

Lane = tuple[str, Action]
"""Family and verb: what gets sick together."""


@dataclass(slots=True, eq=False)
class Call:
    """A write call on its way, waiting or in flight. Identity is the object."""

    id: int
    lane: Lane
    batch: list[AssetWork]
    is_half: bool = False
    own_failures: int = 0
    """Own failures of a call of several assets."""
    failures_in_row: int = 0
    """Sends in a row that did not succeed: what its delay grows by."""
    suspicions: list[int] = field(default_factory=list)
    """Numbers of the sends that are under suspicion."""
    failure: Failure | None = None
    """The last one."""
    retry_at: float = 0.0
    sent: int = 0
    """The number of its send, over all calls."""
    exchange: Exchange[Verdict] | None = None
    """What is asked in its slot; it stays where a request of it was throttled or cut."""

    @property
    def family(self) -> str:
        """Which family it writes to."""
        return self.lane[0]

    @property
    def action(self) -> Action:
        """How it writes."""
        return self.lane[1]

    @property
    def is_alone(self) -> bool:
        """Whether it carries a single asset."""
        return len(self.batch) == 1

    @property
    def assets(self) -> list[Asset]:
        """Its assets, in the order of the call."""
        return [work.asset for work in self.batch]

    def request(self) -> Request:
        """The write itself."""
        if self.action == DELETE:
            return DeleteOne(self.family, self.batch[0].asset.code)
        return UpsertAssets(self.family, tuple(work.body() for work in self.batch))

    def origins(self) -> tuple[Origin, ...]:
        """The changes that it carries."""
        return tuple([change.record.origin for work in self.batch for change in work.step.changes])

    def count_attempt(self) -> None:
        """Every change that the call carries was tried once more."""
        for work in self.batch:
            for change in work.step.changes:
                change.attempts += 1
