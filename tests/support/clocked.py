"""A pipeline whose time a test sets, step by step."""

from service.core.effects import Effect, StartCall
from service.core.inputs import (
    Arrived,
    Assigned,
    CallEnded,
    CallReply,
    Input,
    ItemReply,
    LeaseRenewed,
    Start,
)
from service.core.limits import DecodeLimits, Limits
from service.core.model import Moment, Origin, Partition, SourceRecord
from service.core.pipeline import Pipeline
from service.core.requests import UpsertAssets
from tests.support.builders import plain
from tests.support.drive import FOREVER

PLACE = Partition("events", 0)
LIMITS = Limits(DecodeLimits(1 << 20), window_seconds_max=0.0)
"""Changes leave at once."""


class Clocked:
    """A pipeline with one partition, for upserts of one asset in each of some families."""

    def __init__(self, limits: Limits = LIMITS, lease_until: float = FOREVER) -> None:
        self.pipeline = Pipeline(limits, lambda: 0.5)
        self.step(0.0, LeaseRenewed(lease_until))
        login, *_ = calls(self.step(0.0, Assigned(1, {PLACE: Start(0)}, 1)))
        self.step(0.0, CallEnded(login.call_id, CallReply(200, is_from_pim=True)))

    def step(self, now: float, happened: Input) -> list[Effect]:
        """The effects of an input."""
        return self.pipeline.step(happened, Moment(now, round(now * 1000)))

    def arrive(self, now: float, families: int) -> list[StartCall]:
        """The calls that start when there is an upsert in each of so many families."""
        events = [plain(asset_family=f"family{number}").value for number in range(families)]
        records = [
            SourceRecord(Origin(PLACE, offset, 1), None, event)
            for offset, event in enumerate(events)
        ]
        return calls(self.step(now, Arrived(tuple(records))))


def calls(effects: list[Effect]) -> list[StartCall]:
    """Those that start."""
    return [effect for effect in effects if isinstance(effect, StartCall)]


def applied(call: StartCall) -> CallEnded:
    """Each asset of the call was created."""
    assert isinstance(call.request, UpsertAssets)
    items = tuple(ItemReply(asset.asset.code, 201) for asset in call.request.assets)
    return CallEnded(call.call_id, CallReply(200, is_from_pim=True, items=items))
