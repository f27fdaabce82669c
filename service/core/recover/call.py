"""A write call: the assets that it carries, and its failures so far."""

from dataclasses import dataclass, field

from service.contracts.outcome import DELETE, Action
from service.core.group.asset_work import AssetWork
from service.core.model import Asset, Change, Origin
from service.core.requests import DeleteOne, Exchange, Request, UploadFile, UpsertAssets
from service.core.verdict_types import Failure, Verdict

Lane = tuple[str, Action]
"""Family and action: the unit that fails and recovers."""


def lane_of(change: Change) -> Lane:
    """Return the lane in which the change is sent."""
    return change.asset.family, change.action


@dataclass(slots=True, eq=False)
class Call:
    """A write call, waiting or in flight. Two calls are never equal."""

    id: int
    lane: Lane
    batch: list[AssetWork]
    is_half: bool = False
    own_failures: int = 0
    """Own failures while the call carries several assets; a single asset counts its own."""
    failures_in_row: int = 0
    """Sends in a row without success; the delay before the next send grows with them."""
    suspicions: list[int] = field(default_factory=list)
    """Numbers of the sends that failed and are not attributed yet."""
    failure: Failure | None = None
    """The last failure."""
    retry_at: float = 0.0
    sent: int = 0
    """The number of its last send, counted over all calls: a later send has a higher one."""
    exchange: Exchange[Verdict] | None = None
    """The exchange under way; it is kept when a request of it is throttled or cancelled."""
    upload: UploadFile | None = None
    """The file that the call uploads, before its asset can be written."""

    @property
    def family(self) -> str:
        return self.lane[0]

    @property
    def action(self) -> Action:
        return self.lane[1]

    @property
    def is_alone(self) -> bool:
        return len(self.batch) == 1

    @property
    def assets(self) -> list[Asset]:
        return [work.asset for work in self.batch]

    def request(self) -> Request:
        """Return the request of the write, or of the upload before it."""
        if self.upload is not None:
            return self.upload
        if self.action == DELETE:
            return DeleteOne(self.family, self.batch[0].asset.code)
        return UpsertAssets(self.family, tuple([work.body() for work in self.batch]))

    def origins(self) -> tuple[Origin, ...]:
        """Return the records whose changes the call carries."""
        return tuple([change.record.origin for work in self.batch for change in work.step.changes])

    def count_attempt(self) -> None:
        """Count one more attempt for every change that the call carries."""
        for work in self.batch:
            for change in work.step.changes:
                change.attempts += 1
