"""Doing the coalesced steps leaves the PIM as doing the changes one by one would (P2, D5)."""

from hypothesis import given
from hypothesis import strategies as st

from service.contracts.outcome import DELETE
from service.core.group.asset_work import AssetWork, Ending
from service.core.group.coalesce import Step, body_of, coalesce
from service.core.model import Change, UpsertAsset
from service.core.values import ValueData
from service.core.verdict_types import Failure, PimResponse
from tests.support.builders import Flat, changes, flat

State = Flat | None
"""An asset's values; None where it does not exist."""

values = st.dictionaries(st.sampled_from("xyz"), st.text(max_size=3), max_size=3)
sequences = st.lists(st.none() | values, min_size=1, max_size=12)
byte_limits = st.integers(1, 60)


def apply(state: State, change: Change) -> State:
    """What one change makes of an asset."""
    if isinstance(change.command, UpsertAsset):
        return (state or {}) | flat(change.command.values)
    return None


def do(state: State, step: Step) -> State:
    """What one step makes of an asset."""
    if step.action == DELETE:
        return None
    return (state or {}) | flat(body_of(step).values)


@given(sequences, byte_limits)
def test_the_steps_replay_the_changes(
    wanted: list[dict[str, ValueData] | None], limit: int
) -> None:
    """From nothing and from something."""
    given_changes = changes(*wanted)
    something: State = {("old", None, None): "1"}
    for before in (None, something):
        one_by_one: State = before
        stepped: State = before
        for change in given_changes:
            one_by_one = apply(one_by_one, change)
        for step in coalesce(given_changes, limit):
            stepped = do(stepped, step)
        assert stepped == one_by_one


@given(sequences, byte_limits)
def test_merged_upserts_keep_the_byte_limit(
    wanted: list[dict[str, ValueData] | None], limit: int
) -> None:
    """Only a change that is too large alone exceeds it."""
    for step in coalesce(changes(*wanted), limit):
        assert step.size <= limit or len(step.changes) == 1


@given(sequences, byte_limits, st.data())
def test_whatever_the_pim_says_each_change_ends_once_in_order_and_truly(
    wanted: list[dict[str, ValueData] | None], limit: int, data: st.DataObject
) -> None:
    """Work on an asset with any verdicts; the PIM equals a replay of the applied changes."""
    given_changes = changes(*wanted)
    work = AssetWork.of(given_changes[0].asset, list(given_changes), limit)
    pim: State = None
    endings: list[tuple[Change, Ending]] = []
    while not work.is_over:
        verdict = data.draw(st.sampled_from(["apply", "refuse", "fail", "fail_step", "reject"]))
        if verdict == "apply":
            pim = do(pim, work.step)
            work.apply(PimResponse(204), "updated")
        elif verdict == "refuse":
            work.refuse("refused_by_pim", PimResponse(422))
        elif verdict == "reject":
            work.reject_step("unknown_family", PimResponse(404))
        elif verdict == "fail":
            work.fail(Failure("pim_error", PimResponse(500)), "given up")
        else:
            work.fail_step(Failure("pim_error", PimResponse(500)), "given up")
        for group in work.take_ended():
            endings += group

    assert [change for change, _ in endings] == given_changes
    status = {id(change): ending.status for change, ending in endings}
    replay: State = None
    for change in given_changes:
        if status[id(change)] == "applied":
            replay = apply(replay, change)
    assert pim == replay
