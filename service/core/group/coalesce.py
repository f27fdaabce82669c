"""Turn the changes of one asset in a batch into steps that do the same with fewer calls.

Source: architecture.md D5.

Rule 1: the last delete supersedes the changes before it; the upserts after it are merged.
Rule 2: the steps leave the PIM in the same state as the changes one by one.
Rule 3: only changes that spell the asset's code alike are merged or superseded. For a PIM
that ignores case, `X_1` and `x_1` are one asset; for another PIM they are two. A step for each
spelling, in order, suits both.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, takewhile

import msgspec
from msgspec import Raw

from service.contracts.outcome import DELETE, UPSERT, Action
from service.core.long_form import merge_long_forms
from service.core.model import Asset, Change, UpsertAsset
from service.core.read.value_forms import taken_apart
from service.core.values import Values
from service.core.values import merge as merge_values


class Step(msgspec.Struct, frozen=True, gc=False):
    """One write for an asset: a delete with the changes it supersedes, or merged upserts."""

    action: Action
    changes: tuple[Change, ...]
    """The upserts in order, of which the last carries the result; or the one delete."""
    superseded: tuple[Change, ...] = ()
    size: int = 0
    """Bytes that the step adds to the body of a call."""


def coalesce(changes: Sequence[Change], bytes_max: int) -> list[Step]:
    """Return the steps for these changes of one asset, given in partition order."""
    if len(changes) == 1:  # the usual case
        command = changes[0].command
        action = command.action
        return [Step(action, tuple(changes), size=command.size)]
    return [
        step
        for _, spelled_alike in groupby(changes, _asset)
        for step in _coalesce_alike(list(spelled_alike), bytes_max)
    ]


def first_run(changes: Sequence[Change]) -> list[Change]:
    """Return the first changes that all spell the code alike."""
    first = changes[0].asset
    return list(takewhile(lambda change: change.asset == first, changes))


def _coalesce_alike(changes: Sequence[Change], bytes_max: int) -> list[Step]:
    last_delete = _last_delete(changes)
    if last_delete is None:
        return merge(changes, bytes_max)
    delete = Step(DELETE, (changes[last_delete],), tuple(changes[:last_delete]))
    return [delete, *merge(changes[last_delete + 1 :], bytes_max)]


def merge(upserts: Iterable[Change], bytes_max: int) -> list[Step]:
    """Merge upserts, given in order, into steps of at most `bytes_max` or a single upsert."""
    steps: list[Step] = []
    group: list[Change] = []
    size = 0
    for change in upserts:
        assert change.action == UPSERT
        if group and size + change.command.size > bytes_max:
            steps.append(Step(UPSERT, tuple(group), size=size))
            group, size = [], 0
        group.append(change)
        size += change.command.size
    if group:
        steps.append(Step(UPSERT, tuple(group), size=size))
    return steps


def one_by_one(step: Step) -> list[Step]:
    """Return a step for each change of a merged step, in order."""
    return [Step(UPSERT, (change,), size=change.command.size) for change in step.changes]


def body_of(step: Step) -> UpsertAsset:
    """Return the merged command of an upsert step; a later value replaces an earlier one."""
    assert step.action == UPSERT
    first = step.changes[0].command
    assert isinstance(first, UpsertAsset)
    if len(step.changes) > 1:
        upserts = [_upsert(change) for change in step.changes]
        return UpsertAsset(first.asset, _merged(upserts), step.size)
    if first.is_sendable:
        return first
    return UpsertAsset(first.asset, taken_apart(first.values), first.size)


def _merged(upserts: Sequence[UpsertAsset]) -> Values | Raw:
    long_forms = [one.values for one in upserts if isinstance(one.values, Raw) and one.is_sendable]
    if len(long_forms) == len(upserts):
        return merge_long_forms(long_forms)
    return merge_values(taken_apart(one.values) for one in upserts)


def _upsert(change: Change) -> UpsertAsset:
    assert isinstance(change.command, UpsertAsset)
    return change.command


def values_of(change: Change) -> Values:
    """Return the values that an upsert sets."""
    return taken_apart(_upsert(change).values)


def _asset(change: Change) -> Asset:
    return change.asset


def _last_delete(changes: Sequence[Change]) -> int | None:
    for index in range(len(changes) - 1, -1, -1):
        if changes[index].action == DELETE:
            return index
    return None
