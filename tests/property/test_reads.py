"""The reads of thin events, in virtual time: how many there are, and whose failure a failure is."""

import random
import time
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.mapping.results import Ended, NotFound
from service.translation.facts import HostFailing, HostRecovered
from service.translation.host_reads import RetryLimits
from service.translation.read_answers import Found, HostTrouble, ReadAnswer, Refused, TooLarge
from service.translation.read_target import HOLD_SECONDS_MAX
from tests.support.dam import FOUND, Dam, Reader, always

DOWN = HostTrouble("answered HTTP 503 Service Unavailable", 503)
SECONDS_MAX = 5.0
"""Far above what the plan takes, since the machine of a test may be busy."""
URLS = [f"/{number}" for number in range(50)]


def failing(*bad: str, well: ReadAnswer = FOUND, trouble: HostTrouble = DOWN) -> Dam:
    """A DAM that cannot read some of its assets."""
    return lambda url, _: (trouble if url in bad else well, 0.1)


def down(*outages: tuple[float, float], bad: frozenset[str] = frozenset()) -> Dam:
    """A DAM that is down from time to time."""

    def answer(url: str, now: float) -> tuple[ReadAnswer, float]:
        is_down = any(start <= now < end for start, end in outages)
        return (DOWN if is_down or url in bad else FOUND), 0.1

    return answer


def message(reader: Reader, ticket: int) -> str:
    """Why an event ended as it did."""
    (part,) = reader.ends[ticket]
    assert isinstance(part, Ended)
    assert (part.part, part.rule, part.event.id) == (0, "rule", part.event.id)
    return f"{part.status} {part.reason}: {part.message}"


# --- sharing -------------------------------------------------------------------------------------


def test_a_thousand_events_of_fifty_assets_are_fifty_reads() -> None:
    reader = Reader(always(FOUND))
    reader.want(URLS * 20, delay_seconds=3)
    reader.run(60)

    assert sorted(url for _, url in reader.sent) == sorted(URLS)
    assert reader.statuses() == {"upsert": 1000}
    assert reader.at_once == 4


def test_a_read_waits_for_the_newest_of_its_events() -> None:
    reader = Reader(always(FOUND))
    reader.want(["/a"], delay_seconds=5)
    reader.run(3)
    reader.want(["/a"], delay_seconds=5)
    reader.run(10)
    assert reader.sent == [(8, "/a")]
    assert reader.statuses() == {"upsert": 2}


def test_an_event_that_comes_while_its_asset_is_read_needs_a_read_of_its_own() -> None:
    """The answer may show the asset as it was before."""
    reader = Reader(always(FOUND, seconds=2))
    first = reader.want(["/a"])
    reader.run(1)
    second = reader.want(["/a"])
    reader.run(1.5)
    assert reader.statuses(first) == {"upsert": 1}
    assert reader.statuses(second) == {"waiting": 1}
    reader.run(2)
    assert [sent_at for sent_at, _ in reader.sent] == [0, 2]
    assert reader.statuses(second) == {"upsert": 1}


def test_an_asset_that_changes_for_ever_is_read_all_the_same() -> None:
    reader = Reader(always(FOUND))
    for _ in range(200):
        reader.want(["/hot"], delay_seconds=5)
        reader.run(1)
    times = [sent_at for sent_at, _ in reader.sent]
    assert times[0] == pytest.approx(5 + HOLD_SECONDS_MAX, abs=1)
    assert len(times) <= 200 / HOLD_SECONDS_MAX + 1


@pytest.mark.parametrize(
    ("age", "waits"), [(0, 5), (30, 5), (62, 3), (65, 0), (9000, 0), (-9000, 5)]
)
def test_an_event_of_long_ago_is_not_delayed(age: float, waits: float) -> None:
    """A backlog is read at once; a clock that is a minute slow, or far ahead, does no harm."""
    reader = Reader(always(FOUND))
    reader.want(["/a"], delay_seconds=5, age=age)
    reader.run(20)
    assert reader.sent == [(waits, "/a")]


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (NotFound(), "skipped not_found: It is gone."),
        (
            Refused(422, "no"),
            "rejected unmappable: The read of /a from the host dam was refused with HTTP 422: no",
        ),
        (
            Refused(None, "It has `..`."),
            "rejected unmappable: The read of /a from the host dam was not sent: It has `..`.",
        ),
        (
            TooLarge(9),
            (
                "rejected too_large: The answer to the read of /a from the host dam has more than "
                "9 bytes (max_bytes)."
            ),
        ),
    ],
    ids=["not found", "refused", "not sent", "too large"],
)
def test_an_answer_that_decides(answer: ReadAnswer, told: str) -> None:
    reader = Reader(always(answer))
    (ticket,) = reader.want(["/a"])
    reader.run(1)
    assert message(reader, ticket) == told


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b"", b"\xff"])
def test_what_is_no_object_is_no_asset(body: bytes) -> None:
    """A page that asks for a login says nothing about the asset."""
    reader = Reader(always(Found(body)))
    reader.want(URLS[:5])
    reader.run(3600)
    assert not reader.ends
    assert "not with a JSON object" in reader.plan.failing_hosts()["dam"]


# --- the host's trouble --------------------------------------------------------------------------


def test_a_dam_that_is_down_for_a_minute_fails_nobody() -> None:
    """Nor is it called more than once at a time, and less and less often."""
    reader = Reader(down((10, 70)))
    for second in range(100):
        reader.want(URLS[second % 10 : second % 10 + 5])
        reader.run(1)
    reader.run(60)

    assert reader.statuses() == {"upsert": 500}
    in_outage = [time for time, _ in reader.sent if 12 <= time < 70]
    assert 2 <= len(in_outage) <= 20
    assert [type(fact) for fact in reader.facts] == [HostFailing, HostRecovered]
    assert reader.plan.failing_hosts() == {}


def test_a_dam_that_stays_down_decides_nothing() -> None:
    reader = Reader(always(DOWN))
    reader.want(URLS)
    reader.run(24 * 3600)
    assert not reader.ends
    assert reader.plan.failing_hosts() == {
        "dam": "The host dam answered HTTP 503 Service Unavailable."
    }
    assert len({url for _, url in reader.sent}) == len(URLS), "each has its turn"


def test_throttling_fails_nobody_and_is_waited_for() -> None:
    """A DAM that takes 3 reads in 10 s: the read of an asset may be refused again and again."""
    taken: list[float] = []
    waits: list[float] = []

    def answer(_: str, now: float) -> tuple[ReadAnswer, float]:
        assert not waits or now >= waits[-1], "Retry-After is kept"
        recent = [time for time in taken if time > now - 10]
        if len(recent) < 3:
            taken.append(now)
            return FOUND, 0.0
        waits.append(now + 5)
        return HostTrouble("answered HTTP 429", 429, 5.0), 0.0

    reader = Reader(answer, at_once_max=1, limits=RetryLimits(attempts_max=2))
    reader.want(URLS)
    reader.run(3600)
    assert reader.statuses() == {"upsert": 50}
    assert waits


def test_throttling_is_never_an_assets_own() -> None:
    reader = Reader(failing("/0", trouble=HostTrouble("answered HTTP 429", 429)))
    tickets = reader.want(URLS)
    reader.run(3600)
    assert reader.statuses(tickets) == {"upsert": 49, "waiting": 1}


# --- an asset's own failures ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        DOWN,
        HostTrouble("answered HTTP 403 Forbidden", 403),
        HostTrouble("did not answer within 30 s"),
    ],
    ids=["503", "403", "timeout"],
)
def test_an_asset_that_fails_while_others_are_read(trouble: HostTrouble) -> None:
    """It is tried again, holds up no other, and then fails with what the host said."""
    reader = Reader(failing("/7", trouble=trouble))
    tickets = reader.want(URLS)
    reader.run(30)
    assert reader.statuses(tickets[:7] + tickets[8:]) == {"upsert": 49}
    reader.run(600)

    told = message(reader, tickets[7])
    assert told.startswith("failed fetch_failed: The read of /7 from the host dam failed 8 times")
    assert trouble.message in told
    assert sum(url == "/7" for _, url in reader.sent) <= 2 * 8


def test_an_asset_alone_cannot_stand_for_its_host() -> None:
    """Nobody knows whether the host works, until another event's asset is read."""
    reader = Reader(failing("/bad"))
    (bad,) = reader.want(["/bad"])
    reader.run(3600)
    assert not reader.ends
    assert reader.plan.failing_hosts()

    (other,) = reader.want(["/well"])
    reader.run(31)
    assert reader.statuses([other]) == {"upsert": 1}
    assert not reader.plan.failing_hosts()
    reader.run(600)
    assert reader.statuses([bad]) == {"fetch_failed": 1}


def test_ten_assets_that_fail_at_once_are_no_outage_for_long() -> None:
    reader = Reader(failing(*URLS[:10]))
    tickets = reader.want(URLS[:12])
    reader.run(900)
    assert reader.statuses(tickets[:10]) == {"fetch_failed": 10}
    assert reader.statuses(tickets[10:]) == {"upsert": 2}


def test_a_retry_ends_by_time_as_well() -> None:
    reader = Reader(failing("/0"), limits=RetryLimits(attempts_max=1000, seconds_max=60))
    tickets = reader.want(URLS)
    reader.run(300)
    assert reader.statuses(tickets[:1]) == {"fetch_failed": 1}


def test_a_refusal_shows_nothing_about_the_host() -> None:
    """A proxy may refuse one request while the DAM behind it is down."""
    reader = Reader(failing("/bad", well=Refused(400, "no")))
    reader.want(["/bad", *URLS])
    reader.run(3600)
    assert reader.statuses() == {"unmappable": 50}


def test_an_asset_that_recovers_has_its_failures_forgiven() -> None:
    ill = [("/0", 20.0)]
    reader = Reader(lambda url, now: (DOWN if (url, now) < ill[0] and url == "/0" else FOUND, 0.1))
    tickets = reader.want(URLS)
    reader.run(120)
    assert reader.statuses(tickets) == {"upsert": 50}


def test_what_was_forgotten_is_decided_by_nobody() -> None:
    """After a rebalance, the next owner reads; a late answer finds nothing, and what comes goes."""
    reader = Reader(always(FOUND, seconds=1))
    gone = reader.want(URLS)
    reader.run(0.5)
    reader.forget()
    reader.in_flight.clear()
    reader.run(5)
    assert not reader.ends
    later = reader.want(["/a"])
    reader.run(5)
    assert reader.statuses(gone) == {"waiting": 50}
    assert reader.statuses(later) == {"upsert": 1}


# --- worlds --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WorldPlan:
    """A DAM with outages, bad assets and a limit, and events that come for two minutes."""

    seed: int
    at_once_max: int
    outages: tuple[tuple[float, float], ...]
    bad: frozenset[str]
    delay_seconds: float
    slow_seconds: float
    calls_per_second: int
    attempts_max: int


def worlds() -> st.SearchStrategy[WorldPlan]:
    outage = st.tuples(st.floats(0, 120), st.floats(0, 90)).map(lambda o: (o[0], o[0] + o[1]))
    return st.builds(
        WorldPlan,
        seed=st.integers(0, 2**32),
        at_once_max=st.sampled_from([1, 4, 20]),
        outages=st.lists(outage, max_size=2).map(tuple),
        bad=st.frozensets(st.sampled_from(URLS[:20]), max_size=4),
        delay_seconds=st.sampled_from([0.0, 0.0, 3.0]),
        slow_seconds=st.sampled_from([0.0, 0.2, 4.0]),
        calls_per_second=st.sampled_from([1, 5, 1000]),
        # Each end of an outage may leave one failure behind: two outages must not use it up.
        attempts_max=st.sampled_from([3, 8]),
    )


def dam_of(world: WorldPlan, chance: random.Random) -> Dam:
    """The DAM of a world."""
    answer = down(*world.outages, bad=world.bad)
    taken: list[float] = []

    def throttled(url: str, now: float) -> tuple[ReadAnswer, float]:
        recent = [time for time in taken if time > now - 1]
        taken[:] = recent
        if len(recent) >= world.calls_per_second:
            return HostTrouble("answered HTTP 429", 429, chance.choice((None, 1.0))), 0.05
        taken.append(now)
        found, _ = answer(url, now)
        return found, chance.uniform(0.01, 0.1 + world.slow_seconds)

    return throttled


@pytest.mark.slow
@settings(max_examples=150)
@given(worlds())
def test_every_event_is_decided_and_only_bad_assets_fail(world: WorldPlan) -> None:
    """Exactly once, by an answer that was asked for late enough, in any world."""
    chance = random.Random(world.seed)
    limits = RetryLimits(world.attempts_max, 300.0)
    reader = Reader(dam_of(world, chance), world.at_once_max, limits, world.seed)
    wanted: dict[int, tuple[str, float]] = {}
    for _ in range(60):
        urls = [chance.choice(URLS[:20]) for _ in range(chance.randint(0, 6))]
        for ticket, url in zip(reader.want(urls, world.delay_seconds), urls, strict=True):
            wanted[ticket] = (url, reader.now)
        reader.run(2)
    reader.run(4 * 3600)

    assert reader.at_once <= world.at_once_max
    for ticket, (url, came_at) in wanted.items():
        assert ticket in reader.ends, f"{url} was never decided"
        is_bad = url in world.bad
        assert reader.statuses([ticket]) == {"fetch_failed" if is_bad else "upsert": 1}
        if not is_bad:
            assert reader.asked_at[ticket] >= came_at + world.delay_seconds


def test_many_events_of_one_asset_take_little_time() -> None:
    """None looks at all that wait already: twenty thousand took 17 s once."""
    reader = Reader(always(FOUND))
    began = time.process_time()
    reader.want(["/1"] * 20_000, delay_seconds=5.0)
    reader.run(10)

    assert time.process_time() - began < SECONDS_MAX
    assert (len(reader.sent), reader.statuses()) == (1, {"upsert": 20_000})
