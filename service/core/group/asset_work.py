"""One asset in work: its changes of a batch, the steps still to do, how each change ended.

Codes that differ only in case are one asset here, since a PIM may take them for one; each step
is of one spelling.

Rule 1: the asset is busy from the job's first moment to its last ending; later changes wait.
Rule 2: endings are released in the order of the changes that spell the code alike, a delete
together with what it superseded, a merged call's last change with those before it: a crash in
between would let an outcome name another that never comes.
"""

from collections.abc import Sequence

import msgspec

from service.contracts.outcome import DELETE, UPSERT, Action, ChangeError, Reason, Result, Status
from service.core.flaws import sentence
from service.core.group.coalesce import (
    Step,
    body_of,
    coalesce,
    merge,
    one_by_one,
    values_of,
)
from service.core.group.shape import MissingOption, Shaped, Structure, shape
from service.core.model import Asset, Change, UpsertAsset
from service.core.values import merge as merge_values
from service.core.verdicts import Failure, PimResponse


class Ending(msgspec.Struct, frozen=True, gc=False):
    """How one change ended. `by` is the outcome id of the change that merged or superseded it."""

    status: Status
    result: Result | None = None
    reason: Reason | None = None
    response: PimResponse | None = None
    message: str | None = None
    by: str | None = None
    errors: tuple[ChangeError, ...] = ()
    """Found by us, without a call."""


Ended = tuple[tuple[Change, Ending], ...]
"""Changes that settle together, in order."""


class AssetWork:
    """The changes of one asset in work."""

    __slots__ = (
        "_bytes_max",
        "_endings",
        "_shaped",
        "_shaped_by",
        "_steps",
        "_unreleased",
        "asset",
        "behind",
        "failing_since",
        "key",
        "last_failure",
        "own_failures",
    )

    def __init__(self, key: Asset, changes: Sequence[Change], bytes_max: int) -> None:
        assert changes
        self.key = key
        """What the asset is busy under: its code with case folded."""
        self.asset = changes[0].asset
        """The asset as the present step spells it."""
        self._bytes_max = bytes_max
        self._unreleased = list(changes)
        self._endings: dict[int, Ending] = {}
        self._steps = coalesce(changes, bytes_max)
        self.behind: list[Change] = []
        """Later changes of the asset: they enter a window when the job is over."""
        self.own_failures = 0
        """Own failures of calls with this asset alone: what its budget counts."""
        self.failing_since: float | None = None
        """Since when, by the patience clock."""
        self.last_failure: Failure | None = None
        self._shaped: Shaped | None = None
        self._shaped_by: Structure | None = None

    @property
    def step(self) -> Step:
        """What is to do next."""
        return self._steps[0]

    @property
    def action(self) -> Action:
        """How."""
        return self._steps[0].action

    @property
    def is_over(self) -> bool:
        """Whether every change ended."""
        return not self._steps

    @property
    def open_changes(self) -> Sequence[Change]:
        """Changes not yet released, in order."""
        return self._unreleased

    def shape(self, structure: Structure, default_locale: str | None) -> None:
        """Bring the step's values into the family's shapes, each change by itself, in order."""
        if self._shaped_by is structure:
            return
        self._shaped_by = structure
        all_shaped = [
            shape(values_of(change), structure, default_locale) for change in self.step.changes
        ]
        if len(all_shaped) == 1:
            self._shaped = all_shaped[0]
            return
        self._shaped = Shaped(
            merge_values(shaped.values for shaped in all_shaped),
            [flaw for shaped in all_shaped for flaw in shaped.flaws],
            [option for shaped in all_shaped for option in shaped.missing_options],
            sum(shaped.flaws_count for shaped in all_shaped),
            sum(shaped.missing_count for shaped in all_shaped),
        )

    @property
    def is_shaped(self) -> bool:
        """Whether the family's structure was known."""
        return self._shaped is not None

    @property
    def mismatched_at(self) -> float | None:
        """Since when (seconds) all of the step's values are in doubt; None where some are not."""
        times = [change.mismatched_at for change in self.step.changes]
        return max(time for time in times if time is not None) if None not in times else None

    def mark_mismatch(self, now: float) -> None:
        """The step's values are in doubt, each change from the first time on.

        So one reading judges all changes of a step, also when they are taken apart.
        """
        for change in self.step.changes:
            if change.mismatched_at is None:
                change.mismatched_at = now

    @property
    def flaws(self) -> Sequence[ChangeError]:
        """What the PIM would refuse of the step."""
        return self._shaped.flaws if self._shaped else ()

    @property
    def missing_options(self) -> Sequence[MissingOption]:
        """Options that the step names and the PIM lacks."""
        return self._shaped.missing_options if self._shaped else ()

    @property
    def lacks_only_options(self) -> bool:
        """Whether the step would be right if its missing options were there."""
        return self._shaped is not None and self._shaped.missing_count == self._shaped.flaws_count

    def body(self) -> UpsertAsset:
        """What goes to the PIM for an upsert step."""
        if self._shaped is None:
            return body_of(self.step)
        return UpsertAsset(self.asset, self._shaped.values, self.step.size)

    def reject_flawed(self) -> None:
        """The PIM would refuse the step; merged changes are taken apart instead."""
        errors = tuple(self.flaws)
        assert errors
        assert self._shaped is not None
        message = sentence(errors, self._shaped.flaws_count)
        self._end_or_take_apart(
            Ending("rejected", reason="invalid_values", message=message, errors=errors)
        )

    def apply(self, response: PimResponse, result: Result) -> None:
        """The PIM did the step."""
        step = self._steps.pop(0)
        last = step.changes[-1]
        for change in step.superseded:
            self._end(change, Ending("superseded", by=last.outcome_id))
        for change in step.changes[:-1]:
            self._end(change, Ending("applied", "merged", response=response, by=last.outcome_id))
        self._end(last, Ending("applied", result, response=response))
        self._reset()

    def apply_alone(self, response: PimResponse, result: Result) -> Ended | None:
        """As `apply`, for a job of a single change, which most are; None where it has more."""
        if len(self._unreleased) > 1:
            return None
        (change,) = self._unreleased
        self._unreleased.clear()
        self._steps.clear()
        return ((change, Ending("applied", result, response=response)),)

    def refuse(self, reason: Reason, response: PimResponse) -> None:
        """The PIM refused the step for good; merged changes are taken apart instead."""
        self._end_or_take_apart(Ending("rejected", reason=reason, response=response))

    def reject_step(self, reason: Reason, response: PimResponse) -> None:
        """Every change of the step is refused for the same reason, merged or not."""
        self._finish_step(Ending("rejected", reason=reason, response=response))
        self._reset()

    def fail_step(self, failure: Failure, message: str) -> None:
        """No more patience with this step."""
        self._finish_step(failed(failure, message))
        self._reset()

    def fail(self, failure: Failure, message: str) -> None:
        """The budget is used up: the step fails, and of an upsert all of its asset after it."""
        if self.action == DELETE:
            self.fail_step(failure, message)
            return
        ending, asset = failed(failure, message), self.asset
        doomed = [step for step in self._steps if step.changes[0].asset == asset]
        self._steps = [step for step in self._steps if step.changes[0].asset != asset]
        for step in doomed:
            for change in (*step.superseded, *step.changes):
                self._end(change, ending)
        self._reset()

    def take_ended(self) -> list[Ended]:
        """Release what ended, in order for each spelling; each item settles as a whole."""
        released: list[Ended] = []
        group: list[tuple[Change, Ending]] = []
        left: list[Change] = []
        waiting: set[Asset] = set()
        for index, change in enumerate(self._unreleased):
            if not self._endings:
                left += self._unreleased[index:]
                break
            if change.asset in waiting or id(change) not in self._endings:
                waiting.add(change.asset)
                left.append(change)
                continue
            ending = self._endings.pop(id(change))
            group.append((change, ending))
            if ending.by is None:
                released.append(tuple(group))
                group = []
        assert not group, "what names another change's outcome is released with that change"
        self._unreleased = left
        return released

    def _end_or_take_apart(self, ending: Ending) -> None:
        if len(self.step.changes) > 1:
            self._steps[:1] = one_by_one(self._steps[0])
        else:
            self._finish_step(ending)
        self._reset()

    def _finish_step(self, ending: Ending) -> None:
        """End the step's changes alike; around a delete the upserts it superseded are sent."""
        step = self._steps.pop(0)
        for change in step.changes:
            self._end(change, ending)
        for change in step.superseded:
            if change.action == DELETE:
                self._end(change, ending)
        rescued = [change for change in step.superseded if change.action == UPSERT]
        self._steps[:0] = merge(rescued, self._bytes_max)

    def _end(self, change: Change, ending: Ending) -> None:
        assert id(change) not in self._endings
        self._endings[id(change)] = ending

    def _reset(self) -> None:
        if self._steps:
            self.asset = self._steps[0].changes[0].asset
        self.own_failures = 0
        self.failing_since = None
        self.last_failure = None
        self._shaped = self._shaped_by = None


def failed(failure: Failure, message: str) -> Ending:
    """The ending of a change on which all patience is used up."""
    return Ending("failed", reason=failure.reason, response=failure.response, message=message)
