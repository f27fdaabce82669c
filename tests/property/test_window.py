"""Windows lose nothing, keep each asset's order and every limit, whoever cuts when (D5)."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from service.contracts.outcome import ACTIONS, DELETE, UPSERT, Action
from service.core.group.window import Windows
from service.core.model import Asset, Change
from service.core.values import ValueData
from tests.support.builders import change

SECONDS_MAX = 2.0
ASSETS_MAX = 3
BYTES_MAX = 60
CHANGES_MAX = 3

events = st.tuples(
    st.just("add"),
    st.sampled_from(["f", "g"]),
    st.sampled_from("abcdef"),
    st.none() | st.dictionaries(st.sampled_from("xy"), st.text(max_size=30), max_size=2),
)
times = st.tuples(st.just("wait"), st.floats(0.1, 3.0))
cuts = st.tuples(st.just("take_batch"), st.sampled_from(ACTIONS))


class FilledWindows:
    """Windows, and what went in and came out."""

    def __init__(self) -> None:
        self.windows = Windows(SECONDS_MAX, ASSETS_MAX, BYTES_MAX, CHANGES_MAX)
        self.now = 0.0
        self.added: dict[Asset, list[Change]] = defaultdict(list)
        self.taken: dict[Asset, list[Change]] = defaultdict(list)

    def add(self, family: str, code: str, values: dict[str, ValueData] | None) -> None:
        """A change arrives."""
        made = change(values, Asset(family, code), sum(map(len, self.added.values())))
        self.added[made.asset].append(made)
        self.windows.add(made.asset.folded, made, self.now)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.windows.pass_time(self.now)

    def take_batch(self, action: Action) -> bool:
        """The gate grants a call; False where nothing is due."""
        family = next(self.windows.due_families(action), None)
        if family is None:
            return False
        batch = self.windows.take_batch(family, action)
        assert 1 <= len(batch) <= (1 if action == DELETE else ASSETS_MAX)
        assert len({work.asset for work in batch}) == len(batch), "an asset stands in a call once"
        assert {work.action for work in batch} == {action}
        size = sum(sum(c.command.size for c in work.open_changes) for work in batch)
        assert size <= BYTES_MAX or len(batch) == 1
        for work in batch:
            assert work.asset.family == family
            self.taken[work.asset] += work.open_changes
            self.taken[work.asset] += work.behind
        return True


@settings(deadline=None)
@given(st.lists(events | times | cuts, max_size=60))
def test_nothing_is_lost_or_reordered(script: list[tuple[object, ...]]) -> None:
    """After enough time and calls, everything came out, each asset in order."""
    filled = FilledWindows()
    for name, *arguments in script:
        getattr(filled, str(name))(*arguments)
    filled.wait(SECONDS_MAX + 1)
    while filled.take_batch(UPSERT) or filled.take_batch(DELETE):
        pass

    assert filled.windows.is_empty
    assert {asset: found for asset, found in filled.taken.items() if found} == dict(filled.added)


@given(st.floats(0.0, 1.99))
def test_a_window_is_not_due_before_its_time(seconds: float) -> None:
    """Unless count or bytes make it so."""
    filled = FilledWindows()
    filled.add("f", "a", {"x": "1"})
    filled.wait(seconds)

    assert not filled.take_batch(UPSERT)


def test_count_makes_a_window_due_and_it_fills_on() -> None:
    """Three assets make it due; deletes count; what comes later goes with the same call."""
    filled = FilledWindows()
    filled.add("f", "a", {})
    filled.add("f", "b", None)
    assert not filled.take_batch(UPSERT)
    filled.add("f", "c", {})
    filled.add("f", "d", {})

    assert filled.take_batch(UPSERT)
    assert [asset.code for asset in filled.taken] == ["a", "c", "d"]


def test_what_a_full_call_leaves_is_no_call_of_its_own() -> None:
    """It fills a call again, or waits for its time: a call costs as much for one asset."""
    filled = FilledWindows()
    for code in "abcde":
        filled.add("f", code, {})
    assert filled.take_batch(UPSERT)
    assert not filled.take_batch(UPSERT)
    filled.add("f", "g", {})
    assert filled.take_batch(UPSERT)
    assert [asset.code for asset in filled.taken] == list("abcdeg")


def test_what_is_left_waits_for_its_own_time() -> None:
    """It is due as long after it entered as everything else."""
    filled = FilledWindows()
    for code in "abc":
        filled.add("f", code, {})
    filled.wait(1.0)
    filled.add("f", "d", {})
    filled.add("f", "e", {})
    assert filled.take_batch(UPSERT)
    filled.wait(1.5)
    assert not filled.take_batch(UPSERT)
    filled.wait(0.5)
    assert filled.take_batch(UPSERT)


def test_bytes_make_a_window_due() -> None:
    """A large change does not wait."""
    filled = FilledWindows()
    filled.add("f", "a", {"x": "y" * BYTES_MAX})

    assert filled.take_batch(UPSERT)


def test_what_ends_without_a_call_counts_in_no_later_window() -> None:
    """Changes that were due by their time are not among the bytes of what came after them."""
    filled = FilledWindows()
    filled.add("f", "c", {"x": "due"})
    filled.add("f", "a", {"x": "due"})
    filled.wait(SECONDS_MAX)
    _, entry = filled.windows.entries("f", UPSERT)
    assert filled.windows.take_first(entry, UPSERT, 1) == filled.added[Asset("f", "a")]
    large: dict[str, ValueData] = {
        "x": "y" * (BYTES_MAX - change({"x": ""}, Asset("f", "b"), 1).command.size)
    }
    filled.add("f", "b", large)

    assert filled.added[Asset("f", "b")][0].command.size == BYTES_MAX
    assert filled.take_batch(UPSERT)
    assert not filled.taken[Asset("f", "b")], "it has no room beside what was due"
    assert filled.take_batch(UPSERT), "its bytes alone fill the window"


def test_families_take_turns() -> None:
    """A busy family does not starve another."""
    filled = FilledWindows()
    for number in range(9):
        filled.add("f", f"a{number}", {})
    filled.add("g", "z", {})
    filled.wait(SECONDS_MAX)

    assert filled.take_batch(UPSERT)
    assert filled.take_batch(UPSERT)
    assert {asset.family for asset in filled.taken} == {"f", "g"}
