"""The run that kills ingress and broker finds what it is there to find."""

from collections import Counter

import pytest

from tests.chaos.webhooks import plan
from tests.support.ingress import Load, flaws_of

A, B, C = b"a", b"b", b"c"


@pytest.mark.parametrize(
    ("written", "flaws"),
    [
        ([A, B], {}),
        ([A, B, B], {}),
        ([A], {}),
        ([B], {"answered with 200, and not written": {A}}),
        ([A, C], {"written, and never sent": {C}}),
        ([A, A], {"written more often than sent": {A}}),
        ([A, B, B, B], {"written more often than sent": {B}}),
    ],
)
def test_each_flaw_is_found(written: list[bytes], flaws: dict[str, set[bytes]]) -> None:
    """A was sent once and accepted; B twice, and neither was answered."""
    load = Load(sent=Counter([A, B, B]), accepted={A})
    assert flaws_of(load, Counter(written)) == flaws


@pytest.mark.parametrize("kills", [0, 1, 7, 30])
def test_kills_are_spread_over_the_run(kills: int) -> None:
    planned = plan(seed=kills, requests=1000, kills=kills)
    assert planned == plan(seed=kills, requests=1000, kills=kills)
    counts = [kill.accepted for kill in planned]
    assert len(counts) == kills
    assert counts == sorted(counts)
    assert all(0 <= count < 1000 for count in counts)
    victims = Counter(kill.victim for kill in planned)
    assert max(victims.values(), default=0) - min(victims.values(), default=0) <= 1
