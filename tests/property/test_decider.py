"""Success, suspicion, own failure: a test a sentence of architecture.md D7, over many timings.

`seed` decides every jitter and every call's duration.
"""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from service.core.facts import ChangeCompleted, FamilyFailing
from service.core.inputs import (
    Answer,
    CallFault,
    CallReply,
    CommitRefusal,
    DrainKind,
    DrainStarted,
    FaultKind,
    ItemReply,
)
from service.core.limits import BREAKER_PENDING_CHANGES
from service.core.requests import DeleteOne, GetFamilies, GetFamily, Request, UpsertAssets
from tests.support.drive import Drive, codes_of, family_of

HOUR = 3600.0
DOWN = CallReply(503)
FORBIDDEN = CallReply(403, is_from_pim=True, message="no right")
HTML_404 = CallReply(404, message="HTTP 404 Not Found")
TIMEOUT = CallFault(FaultKind.TIMEOUT, "No answer within 60 s.")
REFUSED = CallFault(FaultKind.CREDENTIALS, "The PIM refuses the credentials.")
UNSENDABLE = CallFault(FaultKind.UNSENDABLE, "A code that is `.` or `..`.")
SEEDS = st.integers(0, 10_000)
OUTAGES = st.sampled_from(
    [
        DOWN,
        HTML_404,
        TIMEOUT,
        REFUSED,
        CallReply(302),
        CallReply(401, is_from_pim=True),
        CallReply(200),
    ]
)

few = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),  # a seed cannot be made simpler
)


def is_write(request: Request) -> bool:
    """Whether it would change the PIM."""
    return isinstance(request, UpsertAssets | DeleteOne)


def with_traffic(drive: Drive, seconds: float) -> list[str]:
    """Run on, with a change of another family each second: it proves the PIM well."""
    ids = []
    for second in range(round(seconds)):
        ids.append(drive.upsert("traffic", f"t{second}"))
        drive.run(1)
    return ids


# --- outages cost nothing -------------------------------------------------------------------------


@few
@given(SEEDS, OUTAGES)
def test_an_hour_without_the_pim_fails_nothing_of_one_family(seed: int, answer: Answer) -> None:
    """No route answers; one family only; afterwards everything is applied."""
    drive = Drive(lambda _, now: answer if now < HOUR else None, seed)
    ids = [drive.upsert("packshots", f"a{number}") for number in range(50)]
    drive.run()

    assert drive.statuses(ids) == {"applied": 50}
    assert drive.last_completed_at(ids) < HOUR + 120


@few
@given(SEEDS, st.integers(2, 40))
def test_an_outage_of_writes_only_fails_nothing(seed: int, assets: int) -> None:
    """GETs are well; only a write proves that writes work."""
    drive = Drive(lambda r, now: DOWN if is_write(r) and now < HOUR else None, seed)
    ids = [drive.upsert("packshots", f"a{number}") for number in range(assets)]
    drive.run()

    assert drive.statuses(ids) == {"applied": assets}


@few
@given(SEEDS)
def test_an_outage_uses_nobodys_budget(seed: int) -> None:
    """A poison asset has its eight attempts after the outage, not within it."""

    def pim(request: Request, now: float) -> Answer | None:
        if now < HOUR:
            return DOWN
        return CallReply(500) if "poison" in codes_of(request) else None

    drive = Drive(pim, seed)
    poison = drive.upsert("packshots", "poison")
    ids = [drive.upsert("packshots", f"a{number}") for number in range(20)]
    drive.run()

    assert drive.statuses(ids) == {"applied": 20}
    assert drive.outcomes[poison]["reason"] == "pim_error"
    alone = [s for s in drive.writes if codes_of(s.request) == {"poison"} and s.at >= HOUR]
    assert len(alone) >= 8


@few
@given(SEEDS)
def test_while_the_breaker_is_open_one_probe_goes_at_a_time(seed: int) -> None:
    """A single asset, after a delay that grows to 30 s."""
    drive = Drive(lambda _, now: DOWN if now < HOUR else None, seed)
    for number in range(60):
        drive.upsert(f"family{number % 3}", f"a{number}")
    drive.run()

    (opened,), (closed,) = drive.noted("breaker.opened"), drive.noted("breaker.closed")
    probes = [s for s in drive.writes if opened < s.at < HOUR]
    assert all(len(codes_of(probe.request)) == 1 for probe in probes)
    assert all(first.ended_at <= second.at for first, second in pairwise(probes))
    assert len(probes) < HOUR / 10
    assert closed >= HOUR


@few
@given(SEEDS)
def test_probes_go_round_lanes_and_assets(seed: int) -> None:
    """No poison asset holds the breaker open: one of each lane is asked in turn."""

    def pim(request: Request, now: float) -> Answer | None:
        if now < HOUR:
            return DOWN
        return DOWN if codes_of(request) & {"a0", "a1"} else None

    drive = Drive(pim, seed)
    for number in range(6):
        drive.upsert(f"family{number % 2}", f"a{number}")
    drive.run(2 * HOUR)

    asked = Counter(codes_of(s.request).pop() for s in drive.writes if 600 < s.at < HOUR)
    assert set(asked) == {f"a{number}" for number in range(6)}
    assert max(asked.values()) <= 2 * min(asked.values()) + 2
    assert drive.noted("breaker.closed")[0] < HOUR + 300


@pytest.mark.slow
@few
@given(SEEDS)
def test_intake_pauses_at_a_thousand_while_nothing_answers(seed: int) -> None:
    """While no GET is well either; memory is bounded."""
    drive = Drive(lambda _, now: DOWN if now < HOUR else None, seed, partitions=2)
    for number in range(4000):
        drive.upsert("packshots", f"a{number}", number % 2)
    drive.run(HOUR / 2)

    assert drive.noted("intake.paused")
    assert drive.pipeline.pending_changes <= BREAKER_PENDING_CHANGES + 2 * 1000
    drive.run()
    assert drive.statuses() == {"applied": 4000}


@few
@given(SEEDS)
def test_while_the_family_answers_a_get_intake_stays_open(seed: int) -> None:
    """A failing family fills a partition; another behind it proves the PIM well."""
    drive = Drive(lambda r, _: DOWN if is_write(r) and family_of(r) == "failing" else None, seed)
    for number in range(1500):
        drive.upsert("failing", f"s{number}")
    well = [drive.upsert("well", f"w{number}") for number in range(10)]
    drive.run(120)

    assert drive.statuses(well) == {"applied": 10}


@few
@given(SEEDS)
def test_a_single_asset_takes_a_get_for_the_proof(seed: int) -> None:
    """Nothing else could prove the PIM well: its failures become its own, and it ends."""
    drive = Drive(lambda r, _: CallReply(500) if is_write(r) else None, seed)
    only = drive.upsert("packshots", "a")
    drive.run(2 * HOUR)

    assert drive.outcomes[only]["status"] == "failed"


@few
@given(SEEDS)
def test_a_single_asset_in_an_outage_waits(seed: int) -> None:
    """The GET is not well either."""
    drive = Drive(lambda _, now: DOWN if now < HOUR else None, seed)
    only = drive.upsert("packshots", "a")
    drive.run()

    assert drive.outcomes[only]["status"] == "applied"


# --- the bad are isolated -------------------------------------------------------------------------


@pytest.mark.slow
@few
@given(SEEDS, st.sampled_from([CallReply(500), TIMEOUT, CallReply(200, is_from_pim=True)]))
def test_one_poison_among_many_fails_alone(seed: int, answer: Answer) -> None:
    """Its neighbours are applied, in few more calls than without it."""
    drive = Drive(lambda r, _: answer if "poison" in codes_of(r) else None, seed)
    ids = [drive.upsert("packshots", f"a{number}") for number in range(2000)]
    poison = drive.upsert("packshots", "poison")
    ids += [drive.upsert("packshots", f"b{number}") for number in range(2000)]
    drive.run()

    assert drive.statuses(ids) == {"applied": 4000}
    assert drive.outcomes[poison]["status"] == "failed"
    assert len(drive.writes) < 4000 / 100 + 60


@pytest.mark.slow
@settings(few, max_examples=2)
@given(SEEDS)
def test_one_poison_among_ten_thousand(seed: int) -> None:
    """Bounded delay: the innocent are through long before the poison's budget is used up."""
    drive = Drive(lambda r, _: CallReply(500) if "poison" in codes_of(r) else None, seed)
    poison = drive.upsert("packshots", "poison")
    ids = [drive.upsert("packshots", f"a{number}") for number in range(10_000)]
    drive.run()

    assert drive.statuses(ids) == {"applied": 10_000}
    assert drive.outcomes[poison]["status"] == "failed"
    assert drive.last_completed_at(ids) < 60


@few
@given(SEEDS)
def test_a_hot_bad_asset_fails_with_all_that_wait(seed: int) -> None:
    """Ten changes, one budget: not ten times eight calls."""
    drive = Drive(lambda r, _: CallReply(500) if "hot" in codes_of(r) else None, seed)
    hot = []
    for number in range(10):
        hot.append(drive.upsert("packshots", "hot", n=str(number)))
        for other in range(20):
            drive.upsert("packshots", f"a{number}_{other}")
    with_traffic(drive, 200)

    assert drive.statuses(hot) == {"failed": 10}
    alone = [s for s in drive.writes if codes_of(s.request) == {"hot"}]
    assert len(alone) <= 20


@pytest.mark.slow
@few
@given(SEEDS)
def test_four_hanging_assets_in_four_families(seed: int) -> None:
    """Each holds a slot for its timeout; repair has half of them, so the rest goes on."""

    def pim(request: Request, _: float) -> Answer | None:
        return TIMEOUT if any(code.startswith("hang") for code in codes_of(request)) else None

    drive = Drive(pim, seed)
    hanging = [drive.upsert(f"family{number}", f"hang{number}") for number in range(4)]
    ids = [drive.upsert(f"family{number % 4}", f"a{number}") for number in range(400)]
    drive.run(400)
    late = [drive.upsert(f"family{number % 4}", f"b{number}") for number in range(400)]
    began = drive.now
    with_traffic(drive, 1500)

    assert drive.statuses(ids + late) == {"applied": 800}
    assert drive.statuses(hanging) == {"failed": 4}
    assert drive.last_completed_at(late) - began < 30, "the rest has its own slots by then"


@few
@given(SEEDS)
def test_a_retry_item_goes_alone_next(seed: int) -> None:
    """In a successful list a 5xx item is an own failure at once; its neighbours are done."""

    def pim(request: Request, _: float) -> Answer | None:
        codes = codes_of(request)
        if "odd" not in codes or not isinstance(request, UpsertAssets):
            return None
        items = [
            ItemReply(asset.asset.code, 503 if asset.asset.code == "odd" else 201)
            for asset in request.assets
        ]
        return CallReply(200, is_from_pim=True, items=tuple(items))

    drive = Drive(pim, seed)
    odd = drive.upsert("packshots", "odd")
    ids = [drive.upsert("packshots", f"a{number}") for number in range(50)]
    drive.run(HOUR)

    assert drive.statuses(ids) == {"applied": 50}
    with_odd = [s for s in drive.writes if "odd" in codes_of(s.request)]
    assert [len(codes_of(s.request)) for s in with_odd][1:] == [1] * (len(with_odd) - 1)
    assert drive.outcomes[odd]["status"] == "failed"


# --- failing lanes -----------------------------------------------------------------------------


@pytest.mark.slow
@few
@given(SEEDS)
def test_a_failing_family_among_five_delays_nobody(seed: int) -> None:
    """The others finish as if it were not there; its changes wait, then fail."""

    def pim(request: Request, _: float) -> Answer | None:
        return DOWN if is_write(request) and family_of(request) == "failing" else None

    drive = Drive(pim, seed)
    doomed, well = [], []
    for number in range(300):
        doomed.append(drive.upsert("failing", f"s{number}"))
        well += [drive.upsert(f"well{other}", f"w{number}") for other in range(4)]
    with_traffic(drive, 700)

    assert drive.statuses(well) == {"applied": 1200}
    assert drive.last_completed_at(well) < 30
    assert drive.statuses(doomed) == {"failed": 300}
    assert drive.noted("family.failing")
    failing = [fact for _, fact in drive.facts if isinstance(fact, FamilyFailing)]
    assert {(one.family, one.reason, one.status) for one in failing} == {
        ("failing", "pim_error", DOWN.status)
    }
    completed = [fact for _, fact in drive.facts if isinstance(fact, ChangeCompleted)]
    assert {one.asset for one in completed} == {f"failing/s{number}" for number in range(300)}


@pytest.mark.slow
@few
@given(SEEDS)
def test_a_failing_family_that_heals_fails_little(seed: int) -> None:
    """Within its changes' patience everything that waited is applied."""

    def pim(request: Request, now: float) -> Answer | None:
        is_failing = is_write(request) and family_of(request) == "failing" and now < 120
        return DOWN if is_failing else None

    drive = Drive(pim, seed)
    failing = [drive.upsert("failing", f"s{number}") for number in range(200)]
    with_traffic(drive, 400)

    assert drive.statuses(failing)["applied"] >= 195
    assert drive.noted("family.recovered")


@few
@given(SEEDS)
def test_a_failing_family_alone_waits(seed: int) -> None:
    """Nothing proves the PIM well: nothing fails, however long; it goes on when it heals."""

    def pim(request: Request, now: float) -> Answer | None:
        return DOWN if is_write(request) and now < 2 * HOUR else None

    drive = Drive(pim, seed)
    ids = [drive.upsert("failing", f"s{number}") for number in range(30)]
    drive.run(1.9 * HOUR)
    assert drive.statuses(ids) == {}
    drive.run()
    assert drive.statuses(ids) == {"applied": 30}


@pytest.mark.slow
@few
@given(SEEDS)
def test_another_familys_success_shows_that_it_is_sick(seed: int) -> None:
    """Then its changes have their patience, and end."""
    drive = Drive(lambda r, _: DOWN if is_write(r) and family_of(r) == "failing" else None, seed)
    failing = [drive.upsert("failing", f"s{number}") for number in range(30)]
    drive.run(HOUR)
    assert drive.statuses(failing) == {}
    with_traffic(drive, 700)

    assert drive.statuses(failing) == {"failed": 30}


@pytest.mark.slow
@few
@given(SEEDS)
def test_a_missing_delete_right_touches_only_deletes(seed: int) -> None:
    """403 on DELETE: `forbidden`; upserts of the same family go on."""
    drive = Drive(lambda r, _: FORBIDDEN if isinstance(r, DeleteOne) else None, seed)
    deletes = [drive.delete("packshots", f"d{number}") for number in range(12)]
    upserts = [drive.upsert("packshots", f"a{number}") for number in range(400)]
    drive.run(5)
    later = [drive.upsert("packshots", f"b{number}") for number in range(400)]
    with_traffic(drive, 700)

    assert drive.statuses(upserts + later) == {"applied": 800}
    assert drive.last_completed_at(upserts) < 30
    assert {drive.outcomes[id_]["reason"] for id_ in deletes} == {"forbidden"}
    assert drive.statuses(deletes) == {"failed": 12}


@few
@given(SEEDS)
def test_a_heavy_body_that_a_firewall_forbids_is_halved(seed: int) -> None:
    """403 with many assets is perhaps their weight: smaller calls pass."""
    drive = Drive(lambda r, _: FORBIDDEN if len(codes_of(r)) > 30 else None, seed)
    ids = [drive.upsert("packshots", f"a{number}") for number in range(100)]
    drive.run()

    assert drive.statuses(ids) == {"applied": 100}
    assert not drive.noted("pim.call_failed")


@few
@given(SEEDS)
def test_a_body_that_a_proxy_does_not_let_through_is_halved(seed: int) -> None:
    """413 from before the PIM: smaller calls pass, a heavy asset ends, nothing is suspected."""
    too_large = CallReply(413, message="HTTP 413 Request Entity Too Large")

    def proxy(request: Request, _: float) -> Answer | None:
        codes = codes_of(request)
        return too_large if "heavy" in codes or len(codes) > 30 else None

    drive = Drive(proxy, seed)
    ids = [drive.upsert("packshots", f"a{number}") for number in range(100)]
    heavy = drive.upsert("packshots", "heavy")
    others = [drive.upsert("ambient", f"a{number}") for number in range(100)]
    drive.run()

    assert drive.statuses(ids + others) == {"applied": 200}
    assert drive.outcomes[heavy]["reason"] == "too_large"
    assert not drive.noted("pim.call_failed")
    assert not drive.noted("breaker.opened")


@few
@given(SEEDS)
def test_a_proxy_that_refuses_a_body_does_not_prove_that_the_pim_works(seed: int) -> None:
    """An outage stays one, although a proxy answers 413 meanwhile."""

    def proxy(request: Request, now: float) -> Answer | None:
        if "heavy" in codes_of(request):
            return CallReply(413)
        return DOWN if now < 300 else None

    drive = Drive(proxy, seed)
    ids = [drive.upsert("packshots", f"a{number}") for number in range(20)]
    drive.run(10)
    heavy = [drive.upsert("ambient", "heavy") for _ in range(3)]
    drive.run()

    assert drive.statuses(ids) == {"applied": 20}
    assert {drive.outcomes[id_]["reason"] for id_ in heavy if id_ in drive.outcomes} == {
        "too_large"
    }
    assert all(at >= 300 for at in drive.noted("breaker.closed"))


def is_named_by_dots(request: Request) -> bool:
    """Whether no URL can name what the request is about."""
    code = request.code if isinstance(request, DeleteOne) else None
    return ".." in {code, family_of(request)}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("answer", [DOWN, CallReply(429, retry_after_seconds=20.0)])
def test_a_call_that_is_not_sent_does_not_prove_that_the_pim_works(
    seed: int, answer: CallReply
) -> None:
    """It ends neither an outage nor throttling, and shows no family to exist."""

    def pim(request: Request, now: float) -> Answer | None:
        return UNSENDABLE if is_named_by_dots(request) else answer if now < 300 else None

    drive = Drive(pim, seed, limits={"calls_at_once_max": 1})
    ids = [drive.upsert("packshots", f"a{number}") for number in range(20)]
    drive.run(60)
    dots = [drive.delete("manuals", "..") for _ in range(3)]
    dots += [drive.upsert("..", f"b{number}") for number in range(10)]
    absent = drive.delete("manuals", "absent")
    drive.run()

    assert drive.statuses(ids) == {"applied": 20}
    assert {drive.outcomes[id_]["reason"] for id_ in dots} == {"refused_by_pim"}
    assert drive.outcomes[dots[-1]]["pim"] == {
        "status_code": None,
        "message": UNSENDABLE.message,
        "errors": [],
    }
    assert all(at >= 300 for at in drive.noted("breaker.closed"))
    assert all(at >= 300 for at in drive.noted("pim.throttling_ended"))
    assert drive.outcomes[absent]["result"] == "absent"
    assert any(sent.request == GetFamily("manuals") for sent in drive.sent)


def test_assets_of_a_family_that_no_url_can_name_are_not_taken_apart() -> None:
    drive = Drive(lambda request, _: UNSENDABLE if is_named_by_dots(request) else None)
    ids = [drive.upsert("..", f"a{number}") for number in range(100)]
    drive.run()

    assert drive.statuses(ids) == {"rejected": 100}
    assert len(drive.writes) == 1


# --- unknown things -------------------------------------------------------------------------------


@few
@given(SEEDS)
def test_a_misspelt_family_as_the_only_one(seed: int) -> None:
    """Checked by two GETs, and rejected: a typo is no outage."""

    def pim(request: Request, _: float) -> Answer | None:
        if isinstance(request, GetFamilies):
            return None
        return CallReply(404, is_from_pim=True, message="does not exist")

    drive = Drive(pim, seed)
    ids = [drive.upsert("typo", f"a{number}") for number in range(5)]
    ids += [drive.delete("typo", "b")]
    drive.run(60)

    assert {drive.outcomes[id_]["reason"] for id_ in ids} == {"unknown_family"}
    assert drive.statuses(ids) == {"rejected": 6}
    assert not drive.noted("breaker.opened")


@few
@given(SEEDS)
def test_a_404_of_an_ingress_is_an_outage(seed: int) -> None:
    """HTML on every route: nobody's family is unknown, nothing fails."""
    drive = Drive(lambda _, now: HTML_404 if now < HOUR else None, seed)
    ids = [drive.upsert("packshots", f"a{number}") for number in range(20)]
    ids += [drive.delete("packshots", f"d{number}") for number in range(3)]
    drive.run()

    assert drive.statuses(ids) == {"applied": 23}


@few
@given(SEEDS)
def test_a_family_that_is_hidden_while_the_list_fails_is_no_typo(seed: int) -> None:
    """Only the list's own 200 beside the family's own 404 says unknown."""

    def pim(request: Request, now: float) -> Answer | None:
        if now >= HOUR:
            return None
        return DOWN if isinstance(request, GetFamilies) else CallReply(404, is_from_pim=True)

    drive = Drive(pim, seed)
    ids = [drive.upsert("packshots", f"a{number}") for number in range(5)]
    drive.run()

    assert drive.statuses(ids) == {"applied": 5}


@few
@given(SEEDS)
def test_absent_is_success_once_the_family_is_known(seed: int) -> None:
    """One GET of the family; within ten minutes of a success none."""
    drive = Drive(seed=seed)
    first = drive.delete("packshots", "nothing")
    drive.run()
    drive.delete("packshots", "nothing_else")
    drive.run()

    assert drive.outcomes[first]["result"] == "absent"
    assert sum(isinstance(s.request, GetFamily) for s in drive.sent) == 1


# --- 429 ------------------------------------------------------------------------------------------


@few
@given(SEEDS, st.sampled_from([None, 1.0, 20.0]), st.integers(1, 4))
def test_storms_of_429_fail_nothing(seed: int, after: float | None, cap: int) -> None:
    """With and without Retry-After; the limit of calls at once is kept throughout."""
    throttled = CallReply(429, retry_after_seconds=after)
    drive = Drive(
        lambda _, now: throttled if now % 60 < 30 else None,
        seed,
        limits={"calls_at_once_max": cap},
    )
    ids = [drive.upsert(f"family{number % 5}", f"a{number}") for number in range(600)]
    ids += [drive.delete("family0", f"d{number}") for number in range(20)]
    drive.run()

    assert drive.statuses(ids) == {"applied": 620}
    assert drive.at_once_max <= cap
    assert not drive.noted("breaker.opened")
    storm = [s for s in drive.sent if isinstance(s.answer, CallReply) and s.answer.status == 429]
    assert len(storm) <= cap + 60


@pytest.mark.parametrize("limit", [5, 50])
def test_the_rate_is_kept(limit: int) -> None:
    """Calls in any second, GETs and logins counted."""
    drive = Drive(
        call_seconds=0.001, limits={"calls_per_second_max": limit, "calls_at_once_max": 8}
    )
    for number in range(limit * 5):
        drive.delete("packshots", f"a{number}")
    drive.run()

    starts = sorted(sent.at for sent in drive.sent)
    for index, at in enumerate(starts[limit:]):
        assert at - starts[index] >= 1.0 - 1e-9


# --- patience ends early only where it would stop others ------------------------------------------


@pytest.mark.slow
@few
@given(SEEDS)
def test_repair_gives_up_early_at_its_share_of_the_pending_limit(seed: int) -> None:
    """A failing family holds at most a quarter; others flow."""

    def pim(request: Request, _: float) -> Answer | None:
        return DOWN if is_write(request) and family_of(request) == "failing" else None

    drive = Drive(pim, seed, limits={"pending_changes_max": 400})
    well, failing = [], []
    for second in range(100):
        failing += [drive.upsert("failing", f"s{second}_{number}") for number in range(20)]
        well.append(drive.upsert("well", f"w{second}"))
        drive.run(1)
    with_traffic(drive, 60)

    assert drive.statuses(well) == {"applied": 100}
    assert "Given up early" in drive.outcomes[failing[0]]["message"]
    assert drive.pending_max <= 400 + 500, "one poll more than the limit"


@few
@given(SEEDS)
def test_a_partition_at_its_span_limit_gives_up_what_stops_it(seed: int) -> None:
    """One bad asset at the watermark: the partition does not wait for its whole budget."""
    drive = Drive(
        lambda r, _: TIMEOUT if "bad" in codes_of(r) else None,
        seed,
        call_seconds=0.01,
        limits={"calls_per_second_max": 1000, "span_pause_offsets": 1_000},
    )
    bad = drive.upsert("packshots", "bad")
    ids = [drive.upsert("packshots", f"a{number % 300}") for number in range(2_000)]
    drive.run()

    assert drive.outcomes[bad]["message"].startswith("Given up early: its partition")
    assert drive.statuses(ids) == {"applied": 2_000}


@few
@given(SEEDS, st.sampled_from(DrainKind))
def test_a_drain_ends_also_when_the_group_fences_us_meanwhile(seed: int, kind: DrainKind) -> None:
    """Nobody comes back to a replica that waits for ever for the end of a drain (chaos, seed 1)."""
    drive = Drive(lambda _request, _now: None, seed)
    drive.upsert("packshots", "a")
    drive.run(2.01)
    drive.refusal = CommitRefusal.FENCED
    drive._step(DrainStarted(kind, drive.now + 10))
    drive.run(5)

    assert drive.drained == 1, "the change is left to the next owner, and that is told"
    assert not drive.outcomes


@few
@given(SEEDS)
def test_an_outage_uses_no_budget_of_a_failing_family(seed: int) -> None:
    """What waited in it when the PIM went down has the rest of its time afterwards."""

    def pim(request: Request, now: float) -> Answer | None:
        if 60 <= now < HOUR:
            return DOWN
        return DOWN if now < 60 and is_write(request) and family_of(request) == "failing" else None

    drive = Drive(pim, seed)
    failing = [drive.upsert("failing", f"s{number}") for number in range(20)]
    with_traffic(drive, 60)
    drive.run()

    assert drive.noted("family.failing")
    assert drive.statuses(failing) == {"applied": 20}


@pytest.mark.slow
@few
@given(SEEDS)
def test_a_family_that_fails_beside_others_soon_takes_few_calls(seed: int) -> None:
    """Three of its assets fail while others succeed: then it has one probe at a time."""
    drive = Drive(
        lambda r, _: DOWN if is_write(r) and family_of(r) == "failing" else None,
        seed,
        limits={"window_seconds_max": 0.1},
    )
    for turn in range(600):
        if turn % 20 == 10:
            drive.upsert("failing", f"s{turn}")
        for number in range(3):
            drive.upsert(f"well{number}", f"w{turn}")
        drive.run(0.05)

    (noted,) = drive.noted("family.failing")
    assert noted < 5
    assert not drive.noted("breaker.opened")
    calls = [sent for sent in drive.writes if family_of(sent.request) == "failing"]
    assert len(calls) < 30
