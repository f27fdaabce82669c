"""Whose failure a failure is, answer by answer."""

from itertools import cycle

import pytest

from service.mapping.results import NotFound
from service.translation.host_reads import HostReads, RetryLimits
from service.translation.read_answers import HostTrouble
from service.translation.read_target import Target, Waiter
from tests.support.dam import read_of

DOWN = HostTrouble("answered HTTP 503", 503)
FULL = HostTrouble("answered HTTP 429", 429, 20.0)


class HostUnderTest:
    """A host whose reads are answered one by one; a failed one may be sent again at once."""

    def __init__(self, *urls: str, at_once_max: int = 9) -> None:
        self.reads: HostReads[str] = HostReads(at_once_max, RetryLimits(), lambda: 0.0)
        self.sent: dict[str, Target[str]] = {}
        for url in urls:
            self.want(url)

    def want(self, url: str, at: float = 0.0) -> None:
        """Let an event wait for this asset."""
        self.reads.add(url, Waiter(url, read_of(url), at))

    def start(self, now: float = 0.0) -> list[str]:
        """Send what may be sent; return the URLs."""
        started = {target.url: target for target in self.reads.start(now)}
        self.sent |= started
        return list(started)

    def fails(self, url: str, trouble: HostTrouble = DOWN, now: float = 0.0) -> bool:
        """Let a read fail; return whether the host is failing from then on."""
        return self.reads.failed(self.sent.pop(url), trouble, now)

    def succeeds(self, url: str, now: float = 0.0) -> bool:
        """Let a read succeed; return whether the host was failing."""
        target = self.sent.pop(url)
        self.reads.answered(target, now)
        return self.reads.succeeded(target, now)

    def put_off(self, url: str, until: float) -> None:
        """Let an asset that failed be read again at this time."""
        target = self.reads._targets[url]
        target.retry_at = until
        self.reads._schedule(target)

    def own(self, url: str) -> int:
        """How many failures of an asset are known to be its own."""
        return self.reads._targets[url].own_failures


def test_a_success_that_was_asked_for_later_makes_a_failure_the_assets_own() -> None:
    host = HostUnderTest("/bad")
    host.start()
    host.fails("/bad")
    host.want("/well")
    host.start()
    host.succeeds("/well")
    assert host.own("/bad") == 1


def test_who_waited_in_an_assignment_that_is_over_is_told_nothing() -> None:
    """Also where the asset is the one that was read last, which the host is judged by."""
    host = HostUnderTest("/a")
    host.start()
    host.succeeds("/a")
    host.reads.add("/a", Waiter("before", read_of("/a"), 0.0))
    host.reads.forget()
    host.reads.add("/a", Waiter("after", read_of("/a"), 0.0))
    assert host.start() == ["/a"]
    decided = host.reads.answered(host.sent["/a"], 0.0)
    assert [waiter.ticket for waiter in decided] == ["after"]


def test_a_success_that_was_asked_for_before_shows_nothing() -> None:
    """The host may have broken down in between."""
    host = HostUnderTest("/early", "/bad")
    host.start()
    host.fails("/bad")
    host.succeeds("/early")
    assert host.own("/bad") == 0


def test_a_failure_that_was_asked_for_later_clears_the_asset() -> None:
    """Two in turn are the host's; only the last of an outage may be taken for an asset's own."""
    host = HostUnderTest("/first")
    host.start()
    host.fails("/first")
    host.want("/second")
    host.start()
    host.fails("/second")
    host.want("/well")
    host.start()
    host.succeeds("/well")
    assert (host.own("/first"), host.own("/second")) == (0, 1)


def test_an_asset_that_fails_by_itself_clears_no_other() -> None:
    """It would fail in a host that is well."""
    host = HostUnderTest("/bad")
    host.start()
    host.fails("/bad")
    host.put_off("/bad", 50.0)
    host.want("/well")
    host.start()
    host.succeeds("/well")
    host.want("/other")
    host.start()
    host.fails("/other")
    host.put_off("/other", 99.0)
    host.want("/last", at=60.0)
    assert set(host.start(60.0)) >= {"/bad", "/last"}
    host.fails("/bad", now=60.0)
    host.succeeds("/last", now=60.0)
    assert (host.own("/bad"), host.own("/other")) == (1, 1)


def test_a_success_that_was_asked_for_before_does_not_end_throttling() -> None:
    """The host is asked again when the time is over that it asked for, and not before."""
    host = HostUnderTest("/early", "/throttled", "/next", at_once_max=2)
    assert host.start() == ["/early", "/throttled"]
    assert host.fails("/throttled", FULL)
    assert not host.succeeds("/early")
    assert host.start(19.0) == []
    assert host.reads.next_time() == 20.0

    (probed,) = host.start(20.0)
    assert host.succeeds(probed, now=20.0)
    assert host.start(40.0)


def test_an_asset_that_was_read_before_is_the_witness() -> None:
    """It is read again at once if nothing else shows how the host is, and never twice at once."""
    host = HostUnderTest("/well")
    host.start()
    host.succeeds("/well")
    host.want("/bad")
    host.start()
    host.fails("/bad")
    host.put_off("/bad", 9.0)
    assert host.start() == ["/well"]
    assert host.start() == []
    host.want("/well", at=1.0)
    assert host.start(1.0) == []
    host.succeeds("/well", now=1.0)
    assert host.own("/bad") == 1
    assert host.start(2.0) == ["/well"], "that answer came too early for the event"


def test_a_witness_that_is_refused_is_none_any_more() -> None:
    host = HostUnderTest("/well")
    host.start()
    host.succeeds("/well")
    host.want("/bad")
    host.start()
    host.fails("/bad")
    host.put_off("/bad", 9.0)
    assert host.start() == ["/well"]
    host.reads.answered(host.sent.pop("/well"), 0.0)
    assert host.start() == []


def test_a_failing_host_is_asked_once_at_a_time_and_its_witness_first() -> None:
    host = HostUnderTest("/well", at_once_max=1)
    host.start()
    host.succeeds("/well")
    for url in ("/a", "/b", "/c"):
        host.want(url)
    tried = []
    for _ in range(3):
        (url,) = host.start()
        tried.append(url)
        has_opened = host.fails(url)
    assert has_opened
    for _ in range(4):
        (url,) = host.start(1.0)
        assert host.start(1.0) == []
        tried.append(url)
        assert not host.fails(url, now=1.0)
    assert tried[3] == "/well"
    assert {"/a", "/b", "/c"} <= set(tried), "each has its turn"
    (url,) = host.start(2.0)
    assert host.succeeds(url, now=2.0)
    assert host.reads.trouble is None


def test_one_429_pauses_the_host_for_as_long_as_it_asks() -> None:
    host = HostUnderTest("/a", "/b", at_once_max=1)
    host.start()
    assert host.fails("/a", FULL)
    assert host.start(19.9) == []
    assert host.reads.next_time() == 20.0
    assert host.start(20.0) == ["/b"]
    host.succeeds("/b", now=20.0)
    assert host.own("/a") == 0


@pytest.mark.parametrize("asked", [5.0, 10_000.0])
def test_retry_after_of_one_asset_holds_up_no_other(asked: float) -> None:
    """A 503 may be the asset's own; and nobody waits for hours because a host says so."""
    host = HostUnderTest("/a", at_once_max=1)
    host.start()
    host.fails("/a", HostTrouble("answered HTTP 503", 503, asked))
    host.want("/b")
    assert host.start() == ["/b"]
    host.succeeds("/b")
    assert host.reads._targets["/a"].retry_at == min(asked, 300.0)


def test_the_retry_time_stands_still_in_an_outage() -> None:
    host = HostUnderTest("/bad")
    host.reads._limits = RetryLimits(attempts_max=100, seconds_max=60.0)
    now = 0.0
    for _ in range(3):
        host.start(now)
        host.fails("/bad", now=now)
        host.want("/well", at=now)
        host.start(now)
        host.succeeds("/well", now=now)
        host.put_off("/bad", now)
        assert host.reads.take_spent() == []
        for url in ("/x", "/y", "/z"):
            host.want(url, at=now)
        host.start(now)
        for url in ("/x", "/y", "/z", "/bad"):
            host.fails(url, now=now)
        assert host.reads.trouble is not None
        now += 3600.0
        (url,) = host.start(now)
        host.reads.answered(host.sent[url], now)
        host.reads.succeeded(host.sent.pop(url), now)
        for gone in ("/x", "/y", "/z"):
            host.reads._targets.pop(gone, None)
            host.reads._suspected.pop(gone, None)


def test_an_asset_that_is_gone_shows_that_the_host_works() -> None:
    host = HostUnderTest("/a")
    host.start()
    assert host.reads.answered(host.sent["/a"], 0.0)[0].read.resume(NotFound()).parts
    assert not host.reads.succeeded(host.sent.pop("/a"), 0.0)


def test_one_failure_alone_never_ends_an_asset() -> None:
    """It may be the last echo of an outage, however few attempts are set."""
    host = HostUnderTest("/bad")
    host.reads._limits = RetryLimits(attempts_max=1, seconds_max=0.0)
    for failures in (1, 2):
        host.start()
        host.fails("/bad")
        host.put_off("/bad", 9.0)
        host.want("/well")
        host.start()
        host.succeeds("/well")
        assert host.own("/bad") == failures
        assert len(host.reads.take_spent()) == failures - 1
        if failures == 1:
            host.put_off("/bad", 0.0)


def test_after_an_outage_what_failed_is_read_again_within_seconds() -> None:
    """Its delay may have grown to half a minute; and all of it does not go at one moment."""
    host = HostUnderTest("/a", at_once_max=1)
    asset_then_host = cycle((1.0, 0.1))
    host.reads._jitter = lambda: next(asset_then_host)
    now = 0.0
    for _ in range(20):
        now = max(now, host.reads.next_time() or now)
        host.start(now)
        host.fails("/a", now=now)
    host.want("/b", at=now)
    now = host.reads.next_time() or now
    assert host.start(now) == ["/b"]
    assert host.succeeds("/b", now=now)
    assert now < (host.reads.next_time() or 0.0) <= now + 2.0
