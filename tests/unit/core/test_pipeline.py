"""A step at a time: what leaves first."""

from service.core.effects import Commit, Effect, StartCall
from service.core.inputs import (
    Arrived,
    Assigned,
    CallEnded,
    CallReply,
    DrainKind,
    DrainStarted,
    Input,
    LeaseRenewed,
    Start,
    TimePassed,
)
from service.core.limits import DecodeLimits, Limits
from service.core.model import Moment, Origin, SourceRecord
from service.core.pipeline import Pipeline
from service.core.requests import GetFamilies
from tests.support.builders import plain
from tests.support.clocked import PLACE, applied, calls

RULES = Limits(
    decode=DecodeLimits(1 << 20), calls_at_once_max=1, window_assets_max=2, structure=None
)


class Steps:
    """A pipeline, stepped by hand."""

    def __init__(self) -> None:
        self.pipeline = Pipeline(RULES, lambda: 0.5)
        self.now = 0.0
        self.step(LeaseRenewed(1e9))
        (login,) = calls(self.step(Assigned(1, {PLACE: Start(0)}, 1)))
        assert isinstance(login.request, GetFamilies)
        self.step(CallEnded(login.call_id, CallReply(200, is_from_pim=True)))

    def step(self, happened: Input) -> list[Effect]:
        """Take it, a second later."""
        self.now += 1.0
        return self.pipeline.step(happened, Moment(self.now, round(self.now * 1000)))

    def arrive(self, *codes: str) -> list[StartCall]:
        """Upserts of these assets, in order; the calls that start."""
        records = []
        for code in codes:
            given = plain(code=code)
            records.append(SourceRecord(Origin(PLACE, int(code), 1), None, given.value, (), 1_000))
        return calls(self.step(Arrived(tuple(records))))


def test_the_next_call_leaves_before_the_last_one_is_worked_through() -> None:
    """Its slot is the PIM's time: outcomes are written while the next call is on its way."""
    made = Steps()
    (first,) = made.arrive("0", "1", "2", "3")
    effects = made.step(applied(first))

    assert len(calls(effects)) == 1
    assert not any(isinstance(effect, Commit) for effect in effects)
    assert made.pipeline.next_time() == made.now, "at once"
    (complete,) = (effect for effect in made.step(TimePassed()) if isinstance(effect, Commit))
    assert len(complete.transaction.outcomes) == 2


def test_without_a_next_call_nothing_waits() -> None:
    """Outcomes leave in the step that the call ended in."""
    made = Steps()
    (first,) = made.arrive("0", "1")
    effects = made.step(applied(first))
    assert any(isinstance(effect, Commit) for effect in effects)


def test_a_drain_waits_for_nobody() -> None:
    """What was judged is settled before anybody asks whether all is done."""
    made = Steps()
    (first,) = made.arrive("0", "1", "2", "3")
    made.step(DrainStarted(DrainKind.REVOCATION, made.now + 60.0))
    effects = made.step(applied(first))
    assert not calls(effects)
    assert any(isinstance(effect, Commit) for effect in effects)
