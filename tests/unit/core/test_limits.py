"""The core's limits, made small enough to bind."""

from collections.abc import Callable

import pytest

from service.core.effects import CancelCall, Commit, Drained, Effect, SetIntake, StartCall
from service.core.facts import DeadLetterLimitReached
from service.core.inputs import (
    CANCELLED,
    Answer,
    Arrived,
    Assigned,
    CallEnded,
    CallReply,
    CommitRefusal,
    CommitRefused,
    Committed,
    DrainKind,
    DrainStarted,
    Forgotten,
    Input,
    ItemReply,
    LeaseRenewed,
    Released,
    RequestWanted,
    Start,
    TimePassed,
)
from service.core.limits import COMMIT_SILENCE_SECONDS, DecodeLimits, Limits, StructureOptions
from service.core.model import Moment, Origin, Partition, SourceRecord
from service.core.pipeline import Pipeline
from service.core.requests import (
    DeleteOne,
    GetAttributes,
    GetFamilies,
    GetFamily,
    GetOptions,
    Request,
    UpsertAssets,
)
from service.core.send.slots import LOGIN_CALL_ID
from service.core.values import Attribute
from tests.support.drive import Drive, codes_of, family_of

EVENTS = Partition("events", 0)


# --- changes of one asset -------------------------------------------------------------------------


def test_upserts_before_a_delete_beyond_one_batch_leave_as_upserts() -> None:
    """Of 4 upserts and a delete with room for 3 changes: an upsert call first, then the rest."""
    drive = Drive(limits={"changes_per_asset_max": 3})
    upserts = [drive.upsert("packshots", "hot", v=str(number)) for number in range(4)]
    delete = drive.delete("packshots", "hot")
    drive.run()

    assert [type(sent.request) for sent in drive.writes] == [UpsertAssets, DeleteOne]
    assert [drive.outcomes[id_]["result"] for id_ in upserts[:3]] == ["merged", "merged", "created"]
    assert drive.outcomes[upserts[3]]["superseded_by"] == delete
    assert drive.outcomes[delete]["result"] == "deleted"


def test_a_delete_that_comes_into_the_batch_later_leaves_as_a_delete() -> None:
    """In a failing family the first upserts end uncalled; the delete behind them is next."""

    def pim(request: Request, _: float) -> Answer | None:
        is_failing = isinstance(request, UpsertAssets) and request.family == "failing"
        return CallReply(500) if is_failing else None

    drive = Drive(pim, limits={"changes_per_asset_max": 3, "retry_seconds_max": 20.0})
    for number in range(9):
        drive.upsert("failing", f"s{number}")
    drive.run(10)
    upserts = [drive.upsert("failing", "hot", v=str(number)) for number in range(4)]
    delete = drive.delete("failing", "hot")
    for second in range(120):
        drive.upsert("traffic", f"t{second}")
        drive.run(1)

    assert drive.outcomes[delete]["status"] == "applied"
    assert {drive.outcomes[id_]["status"] for id_ in upserts} <= {"failed", "superseded"}
    assert drive.outcomes[upserts[0]]["status"] == "failed"


# --- the map --------------------------------------------------------------------------------------


class Replica:
    """The pipeline stepped by hand."""

    def __init__(
        self,
        *,
        lease_until: float = 1e9,
        completed: frozenset[int] = frozenset(),
        **limits: object,
    ) -> None:
        self.now = 0.0
        limits = {"window_seconds_max": 0.0, **limits}
        self.pipeline = Pipeline(Limits(DecodeLimits(1 << 20), **limits), lambda: 0.5)  # type: ignore[arg-type]
        self.effects: list[Effect] = []
        self.tell(LeaseRenewed(lease_until))
        self.tell(Assigned(1, {EVENTS: Start(0, completed)}, 1))

    def tell(self, happened: Input, seconds: float = 0.0) -> list[Effect]:
        """Something happens, so many seconds later; what follows from it."""
        self.now += seconds
        made = self.pipeline.step(happened, Moment(self.now, round(self.now * 1000)))
        self.effects += made
        return made

    def read(self, offset: int, value: bytes) -> None:
        """A record is read."""
        self.tell(Arrived((SourceRecord(Origin(EVENTS, offset, 1), None, value),)))

    @property
    def paused(self) -> frozenset[Partition]:
        """The partitions that are paused now."""
        last = self.made(SetIntake)[-1]
        assert isinstance(last, SetIntake)
        return last.paused

    @property
    def calls(self) -> list[StartCall]:
        """The requests that went out."""
        return [effect for effect in self.effects if isinstance(effect, StartCall)]

    def made(self, kind: type) -> list[Effect]:
        """What was asked for of this kind."""
        return [effect for effect in self.effects if isinstance(effect, kind)]


BAD = b"no JSON"
UPSERT = b'{"action":"upsert","asset_family":"f","code":"a","values":{}}'


def test_an_outcome_beyond_the_map_stops_no_call() -> None:
    """It waits for the call below it, and that call starts however long it has waited."""
    replica = Replica(map_offsets_max=10)
    replica.read(0, UPSERT)
    replica.read(1_000, BAD)
    replica.tell(TimePassed(), 2 * COMMIT_SILENCE_SECONDS)

    assert not replica.made(Commit)
    assert replica.pipeline.status(replica.now).waits_for is None
    replica.read(1_001, UPSERT.replace(b'"a"', b'"b"'))
    assert len(replica.made(StartCall)) == 3, "the login and two writes"


def test_a_transaction_that_is_outstanding_stops_calls() -> None:
    """Nothing could be committed for so long: nothing more is sent."""
    replica = Replica()
    replica.read(0, BAD)
    assert replica.made(Commit)
    replica.tell(TimePassed(), COMMIT_SILENCE_SECONDS)

    assert replica.pipeline.status(replica.now).waits_for == "commit"


def test_records_that_an_earlier_owner_settled_pause_no_partition() -> None:
    """Nothing of them is left to commit, so nothing would ever resume it."""
    replica = Replica(span_pause_offsets=10, completed=frozenset(range(1, 30)))
    replica.read(0, UPSERT)
    for offset in range(1, 30):
        replica.read(offset, UPSERT)
    assert replica.paused == {EVENTS}
    write = replica.made(StartCall)[-1]
    assert isinstance(write, StartCall)
    replica.tell(
        CallEnded(write.call_id, CallReply(200, is_from_pim=True, items=(ItemReply("a", 204),)))
    )
    replica.tell(TimePassed(), 0.1)
    replica.tell(Committed(1))

    assert replica.paused == frozenset()


def test_a_pause_for_another_reason_lets_no_open_change_hold_its_partition_back() -> None:
    """Half of the span limit is for partitions that paused because of their span."""
    replica = Replica(span_pause_offsets=10, pending_changes_max=6)
    replica.read(0, UPSERT)
    for offset in range(1, 6):
        replica.read(offset, BAD)
    assert replica.paused == {EVENTS}, "six changes are pending"
    for number in (1, 2):
        replica.tell(TimePassed(), 1.0)
        replica.tell(Committed(number))

    assert replica.pipeline.status(replica.now).pending_changes == 1
    assert replica.paused == frozenset(), "the span is 6"


def test_a_partition_of_which_everything_was_settled_is_not_paused() -> None:
    """The watermark itself was settled too: no change of this owner could move it."""
    replica = Replica(span_pause_offsets=10, completed=frozenset(range(30)))
    for offset in range(30):
        replica.read(offset, UPSERT)

    assert replica.paused == frozenset()


# --- requests that wait ---------------------------------------------------------------------------


def test_a_call_that_waits_for_the_rate_while_the_group_fences_it() -> None:
    """Its extra request is forgotten with it."""
    replica = Replica(calls_per_second_max=1)
    (login,) = replica.made(StartCall)
    assert isinstance(login, StartCall)
    replica.tell(RequestWanted(login.call_id))
    replica.read(0, BAD)
    replica.tell(CommitRefused(1, CommitRefusal.FENCED))
    replica.tell(TimePassed(), 2.0)
    replica.tell(Assigned(2, {EVENTS: Start(0)}, 1))
    replica.tell(TimePassed(), 2.0)

    assert replica.pipeline.status(replica.now).calls_in_flight <= 1


def test_a_call_between_two_requests_when_its_assignment_ends_gives_its_slot_back() -> None:
    """Nobody is asked, so nobody could tell that it ended."""
    replica = Replica(calls_per_second_max=2)
    replica.tell(CallEnded(LOGIN_CALL_ID, CallReply(200, is_from_pim=True)))
    replica.read(0, b'{"action":"delete","asset_family":"f","code":"a"}')
    delete = replica.made(StartCall)[-1]
    assert isinstance(delete, StartCall)
    replica.tell(CallEnded(delete.call_id, CallReply(404, is_from_pim=True)))
    assert replica.made(StartCall)[-1] is delete, "the check waits for the rate"
    replica.tell(Forgotten())

    assert replica.pipeline.status(replica.now).calls_in_flight == 0


def test_no_call_goes_on_between_two_requests_when_the_lease_is_lost() -> None:
    """It ends as cut, and the check goes out when the lease is back: the write is not repeated."""
    replica = Replica(lease_until=0.5, calls_per_second_max=3)
    replica.tell(CallEnded(LOGIN_CALL_ID, CallReply(200, is_from_pim=True)))
    replica.read(0, b'{"action":"delete","asset_family":"f","code":"a"}')
    delete = replica.made(StartCall)[-1]
    assert isinstance(delete, StartCall)
    replica.tell(CallEnded(delete.call_id, CallReply(404, is_from_pim=True)))
    replica.tell(TimePassed(), 10.0)
    assert replica.made(StartCall)[-1] is delete
    replica.tell(LeaseRenewed(1e9))
    replica.tell(TimePassed(), 1.0)

    check = replica.made(StartCall)[-1]
    assert isinstance(check, StartCall)
    assert isinstance(check.request, GetFamily)


def test_a_call_that_finishes_in_a_revocation_waits_for_the_rate_alone() -> None:
    """Its next request leaves as soon as the rate allows it, not with the next heartbeat."""
    replica = Replica(calls_per_second_max=3)
    replica.tell(CallEnded(LOGIN_CALL_ID, CallReply(200, is_from_pim=True)))
    replica.read(0, b'{"action":"delete","asset_family":"f","code":"a"}')
    delete = replica.made(StartCall)[-1]
    assert isinstance(delete, StartCall)
    replica.tell(DrainStarted(DrainKind.REVOCATION, 75.0))
    replica.tell(CallEnded(delete.call_id, CallReply(404, is_from_pim=True)))
    next_time = replica.pipeline.next_time()
    assert next_time is not None
    assert next_time <= 1.0
    replica.tell(TimePassed(), next_time)

    check = replica.made(StartCall)[-1]
    assert isinstance(check, StartCall)
    assert isinstance(check.request, GetFamily)


@pytest.mark.parametrize("is_told", [True, False])
def test_a_login_that_was_cut_goes_again(is_told: bool) -> None:  # noqa: FBT001 - a case
    """Replicas that start together rebalance at once; wrong credentials are shown all the same."""
    replica = Replica()
    replica.tell(DrainStarted(DrainKind.REVOCATION, 75.0))
    if is_told:
        replica.tell(CallEnded(LOGIN_CALL_ID, CANCELLED))
    replica.tell(Forgotten())
    replica.tell(Assigned(2, {EVENTS: Start(0)}, 1))
    if not is_told:
        assert len(replica.made(StartCall)) == 1, "its slot is not free yet"
        replica.tell(CallEnded(LOGIN_CALL_ID, CANCELLED))

    assert [type(call.request) for call in replica.calls] == [GetFamilies, GetFamilies]
    assert replica.pipeline.status(replica.now).calls_in_flight == 1


def test_a_login_that_was_throttled_stops_no_write() -> None:
    """A PIM may throttle its list of families alone: writes are not to wait for that."""
    replica = Replica()
    replica.tell(CallEnded(LOGIN_CALL_ID, CallReply(429, retry_after_seconds=1.0)))
    replica.read(0, UPSERT)
    replica.tell(TimePassed(), 2.0)

    assert [type(call.request) for call in replica.calls] == [GetFamilies, UpsertAssets]


@pytest.mark.parametrize("rate", [1, 2, 3])
def test_throttling_below_what_a_structure_needs_delays_it_only(rate: int) -> None:
    """A reading that was throttled goes on where it was: ten options are ten requests."""
    attributes = tuple(f"o{number}" for number in range(10))
    sent_at: list[float] = []

    def pim(request: Request, now: float) -> Answer | None:
        nonlocal sent_at
        sent_at = [at for at in sent_at if now - at < 5.0]
        if len(sent_at) >= 5 * rate:
            return CallReply(429, retry_after_seconds=1.0)
        sent_at.append(now)
        return structured(request, attributes)

    drive = Drive(pim, limits={"structure": StructureOptions(), "calls_at_once_max": 1})
    drive.upsert("packshots", "a", o1="red")
    drive.run(120)

    assert drive.statuses() == {"applied": 1}


def test_a_reading_that_takes_longer_than_its_age_leaves_writes_their_turn() -> None:
    """A PIM that throttles each second request for a minute shows eleven answers in ten minutes."""
    attributes = tuple(f"o{number}" for number in range(15))
    asked = 0

    def pim(request: Request, _: float) -> Answer | None:
        nonlocal asked
        asked += 1
        throttled = CallReply(429, retry_after_seconds=60.0)
        return throttled if asked % 2 else structured(request, attributes)

    drive = Drive(pim, limits={"structure": StructureOptions(), "calls_at_once_max": 1})
    drive.upsert("packshots", "a", o1="red")
    drive.run(1_200)

    assert drive.statuses() == {"applied": 1}


def structured(request: Request, attributes: tuple[str, ...]) -> Answer | None:
    """A family of attributes with options."""
    if isinstance(request, GetAttributes):
        made = tuple(Attribute(code, "single_option") for code in attributes)
        return CallReply(200, is_from_pim=True, attributes=made)
    if isinstance(request, GetOptions):
        return CallReply(200, is_from_pim=True, options=frozenset({"red"}))
    return None


# --- unknown families -----------------------------------------------------------------------------


def knows(*families: str) -> Callable[[Request, float], Answer | None]:
    """A PIM with these families alone."""

    def answer(request: Request, _: float) -> Answer | None:
        if isinstance(request, GetFamilies):
            return CallReply(200, is_from_pim=True, families=frozenset(families))
        if family_of(request) not in families:
            return CallReply(404, is_from_pim=True, message="does not exist")
        return structured(request, ("o",))

    return answer


@pytest.mark.parametrize("structure", [None, StructureOptions()])
def test_hundreds_of_misspelt_families_cost_a_call_each(structure: StructureOptions | None) -> None:
    """And a second change of each costs none; a good event is through in seconds."""
    limits = {"structure": structure, "dead_letter_share_max": 1.0}
    drive = Drive(knows("packshots"), limits=limits)
    bad = [drive.upsert(f"typo{number}", "a") for number in range(300)]
    good = drive.upsert("packshots", "a", o="red")
    drive.run()
    bad += [drive.upsert(f"typo{number}", "b") for number in range(300)]
    drive.run()

    assert {drive.outcomes[id_]["reason"] for id_ in bad} == {"unknown_family"}
    assert drive.settled_at[good] < 12
    asked = [sent for sent in drive.sent if family_of(sent.request) != "packshots"]
    assert len(asked) < 300 + 10
    assert not drive.pipeline.dispatcher.lanes._lanes, "nothing of them is kept among the lanes"


def test_a_family_that_is_created_is_known_again_soon() -> None:
    """The verdict holds for half a minute."""
    families = ["packshots"]
    drive = Drive(lambda request, now: knows(*families)(request, now))  # noqa: PLW0108 - it grows
    first = drive.upsert("new", "a")
    drive.run()
    families.append("new")
    drive.run(70)
    second = drive.upsert("new", "a")
    drive.run()

    assert drive.outcomes[first]["reason"] == "unknown_family"
    assert drive.outcomes[second]["status"] == "applied"


def test_a_list_of_several_pages_rejects_nobody_by_itself() -> None:
    """Where the list is not complete the family itself is asked."""

    def pim(request: Request, _: float) -> Answer | None:
        if family_of(request) in {None, "packshots"}:
            return None
        return CallReply(404, is_from_pim=True, message="does not exist")

    drive = Drive(pim, limits={"structure": StructureOptions()})
    bad = drive.upsert("typo", "a")
    drive.run()

    assert drive.outcomes[bad]["reason"] == "unknown_family"
    assert any(isinstance(sent.request, GetFamily) for sent in drive.sent)


# --- release --------------------------------------------------------------------------------------


def test_what_was_released_counts_no_more() -> None:
    """The rest of the same events, those behind the last one read too, stop nothing again."""
    replica = Replica(dead_letter_share_changes=20)
    for offset in range(50):
        replica.read(offset, BAD)
    assert _limits_reached(replica) == 1
    replica.tell(Released({EVENTS: 100}))
    for offset in range(50, 100):
        replica.read(offset, BAD)
    assert _limits_reached(replica) == 1
    for offset in range(100, 150):
        replica.read(offset, BAD)

    assert _limits_reached(replica) == 2, "what comes later counts"


def test_the_count_behind_the_limit_is_true_and_starts_again_at_zero() -> None:
    """It stands in `/readyz`: so many dead letters of so many changes, before 1,000 ended too."""
    replica = Replica(dead_letter_share_changes=20)
    for offset in range(15):
        replica.read(offset, BAD)
    before = replica.pipeline.status(replica.now)
    held = replica.pipeline.held_back()
    replica.tell(Released({EVENTS: 15}))
    after = replica.pipeline.status(replica.now)
    for offset in range(15, 30):
        replica.read(offset, BAD)
    again = replica.pipeline.status(replica.now)

    assert (before.dead_of_last, before.last_changes) == (11, 11), (
        "what is held back is not counted"
    )
    assert list(held.dead_letters) == ["undecodable"]
    assert not held.deletes
    assert sum(held.dead_letters.values()) + held.others == before.withheld_changes == 5
    assert (after.dead_of_last, after.last_changes) == (0, 0)
    assert (again.dead_of_last, again.last_changes) == (11, 11)


def _limits_reached(replica: Replica) -> int:
    return sum(isinstance(effect, DeadLetterLimitReached) for effect in replica.effects)


# --- drains ---------------------------------------------------------------------------------------


def test_a_shutdown_after_a_revocation_was_drained_ends() -> None:
    """It waits for the end of the revocation, and nothing new is taken in."""
    replica = Replica()
    replica.tell(CallEnded(LOGIN_CALL_ID, CallReply(200, is_from_pim=True)))
    replica.tell(DrainStarted(DrainKind.REVOCATION, replica.now + 10))
    assert len(replica.made(Drained)) == 1
    replica.tell(DrainStarted(DrainKind.SHUTDOWN, replica.now + 10))
    replica.tell(Forgotten())
    assert len(replica.made(Drained)) == 2
    replica.tell(Assigned(2, {EVENTS: Start(0)}, 1))

    last = replica.made(SetIntake)[-1]
    assert isinstance(last, SetIntake)
    assert last.paused == {EVENTS}, "what is assigned while it drains is not read"


def test_a_drain_cuts_its_calls_in_the_step_of_its_deadline() -> None:
    """Not in the next one, which may be seconds later."""
    replica = Replica()
    replica.read(0, UPSERT)
    replica.tell(DrainStarted(DrainKind.SHUTDOWN, replica.now + 1.0))
    made = replica.tell(TimePassed(), 1.0)

    assert [type(effect) for effect in made] == [CancelCall, CancelCall], "the login and the write"


def test_readings_end_with_a_revocation() -> None:
    """A structure of a hundred requests is not read on while the partitions are given back."""
    attributes = tuple(f"o{number}" for number in range(100))
    drive = Drive(
        lambda request, _: structured(request, attributes), limits={"structure": StructureOptions()}
    )
    drive.upsert("packshots", "a", o1="red")
    drive.run(2.2)
    before = len(drive.sent)
    assert 1 < before < 50, "the reading is under way"
    drive._step(DrainStarted(DrainKind.REVOCATION, drive.now + 10))
    drive.run(5)

    assert drive.drained == 1
    assert len(drive.sent) <= before + 1
    assert codes_of(drive.sent[-1].request) == set()
