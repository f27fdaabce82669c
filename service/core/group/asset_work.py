"""The work on one asset: its changes of a batch, the steps still to do, how each change ended.

Codes that differ only in case count as one asset here, since a PIM may treat them as one. Each
step is for one spelling.

Rule 1: the asset is busy until all of these changes have ended; its later changes wait.
Rule 2: endings are released in the order of the changes that spell the code alike. A delete is
released together with the changes that it superseded, and the last of merged changes with those
before it; otherwise a crash in between could leave an outcome that names one which was
never written.
"""

from collections.abc import Sequence
from itertools import islice

import msgspec
from msgspec import Raw

from service.contracts.asset_change import NAME_CHARACTERS_MAX
from service.contracts.outcome import (
    DELETE,
    FILES_MAX,
    UPSERT,
    Action,
    ChangeError,
    FileResult,
    OutcomeFile,
    Reason,
    Result,
    Status,
)
from service.contracts.text import clip, shown_url
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
from service.core.group.work_files import FoundFile, Place, places_in, with_codes
from service.core.model import Asset, Change, UpsertAsset
from service.core.values import merge as merge_values
from service.core.verdict_types import Failure, PimResponse


class Ending(msgspec.Struct, frozen=True, gc=False):
    """How one change ended.

    `by` is the outcome id of the change into which it was merged, or by which it was superseded.
    """

    status: Status
    result: Result | None = None
    reason: Reason | None = None
    response: PimResponse | None = None
    message: str | None = None
    by: str | None = None
    errors: tuple[ChangeError, ...] = ()
    """Errors that asset-sync found without a call."""
    files: tuple[OutcomeFile, ...] = ()
    """What became of the files that the change named."""


Ended = tuple[tuple[Change, Ending], ...]
"""Changes whose outcomes are committed together, in order."""


class AppliedAlike(msgspec.Struct, frozen=True, gc=False):
    """The upserts of a call that ended alike, each of another asset and by itself."""

    changes: list[Change]
    ending: Ending


class WorkFiles:
    """What became of the files of one asset: the PIM has them, or they end their changes."""

    __slots__ = ("ends", "found", "has_forgotten", "not_uploaded")

    def __init__(self) -> None:
        self.found: dict[Place, FoundFile] = {}
        self.ends: dict[Place, Ending] = {}
        self.has_forgotten = False
        """Whether the PIM refused remembered codes, so that their files were uploaded again."""
        self.not_uploaded: set[Place] = set()
        """Whose upload failed too often."""

    def of_change(self, change: Change) -> tuple[OutcomeFile, ...]:
        """Return what became of the first files that a change names."""
        places = dict.fromkeys(places_in(values_of(change)))
        return tuple(map(self._shown, islice(places, FILES_MAX)))

    def _shown(self, place: Place) -> OutcomeFile:
        attribute, url = clip(place[0], NAME_CHARACTERS_MAX), shown_url(place[1].url)
        if (found := self.found.get(place)) is not None:
            result: FileResult = "remembered" if found.is_remembered else "uploaded"
            digest = found.content[0].hex()
            return OutcomeFile(attribute, url, digest, found.size, found.code, result)
        if (ending := self.ends.get(place)) is not None:
            result = "failed" if ending.status == "failed" else "refused"
            return OutcomeFile(attribute, url, place[1].sha256, result=result)
        not_uploaded: FileResult | None = "failed" if place in self.not_uploaded else None
        return OutcomeFile(attribute, url, place[1].sha256, result=not_uploaded)


class AssetWork(msgspec.Struct, eq=False, gc=False):
    """The changes of one asset in a batch, and the steps still to do for them."""

    key: Asset
    """The asset with its code's case folded; it is busy under this key."""
    asset: Asset
    """The asset as the current step spells it."""
    _bytes_max: int
    _unreleased: list[Change]
    _steps: list[Step]
    _endings: dict[int, Ending] = {}
    behind: list[Change] = []
    """Later changes of the asset: they enter a window when this work is over."""
    own_failures: int = 0
    """Own failures of calls with this asset alone, which count against its retry budget."""
    successes_beside: int = 0
    """Successes of other writes that showed these failures to be its own: one may show several,
    all of them left over from an outage; two in turn cannot."""
    failing_since: float | None = None
    """When the first of these own failures happened, by the budget clock."""
    last_failure: Failure | None = None
    _shaped: Shaped | None = None
    _shaped_by: Structure | None = None
    files: WorkFiles | None = None
    """None as long as no step has named a file."""
    is_new: bool = True
    """Whether the first step has not ended, and was not taken apart."""

    @classmethod
    def of(cls, key: Asset, changes: list[Change], bytes_max: int) -> "AssetWork":
        """Return the work for the changes of an asset, given in partition order, and keep them."""
        assert changes
        asset = changes[0].command.asset
        return cls(key, asset, bytes_max, changes, coalesce(changes, bytes_max))

    @property
    def step(self) -> Step:
        """The step to do next."""
        return self._steps[0]

    @property
    def action(self) -> Action:
        return self._steps[0].action

    @property
    def is_over(self) -> bool:
        """Whether no step is left to do."""
        return not self._steps

    @property
    def open_changes(self) -> Sequence[Change]:
        """Changes that are not released yet, in order."""
        return self._unreleased

    def shape(self, structure: Structure, default_locale: str | None) -> None:
        """Adapt the step's values to the family's attributes, change by change, and merge them."""
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

    def is_judged_by(self, structure: Structure) -> bool:
        """Return whether this structure takes the step's values as JSON.

        They are then sent as they are, or merged as they are. What arrived before the structure is
        judged now.
        """
        if self._shaped_by is structure:
            return self._shaped is None
        for change in self._steps[0].changes:
            command = change.command
            if type(command) is not UpsertAsset:
                return False
            if command.judged_by is not structure.long_form and not _judge(change, structure):
                return False
        self._shaped, self._shaped_by = None, structure
        return True

    @property
    def is_shaped(self) -> bool:
        """Whether the step's values were adapted to the family's structure."""
        return self._shaped_by is not None

    @property
    def mismatched_at(self) -> float | None:
        """When the last of the step's changes was found not to fit; None if any was not."""
        times = [change.mismatched_at for change in self.step.changes]
        return max(time for time in times if time is not None) if None not in times else None

    def mark_mismatch(self, now: float) -> None:
        """Note for each change of the step when its values were first found not to fit the family.

        This includes changes without a flaw of their own: so one fetch of the structure decides
        about all of them, even if they are later sent one by one.
        """
        for change in self.step.changes:
            if change.mismatched_at is None:
                change.mismatched_at = now

    @property
    def flaws(self) -> Sequence[ChangeError]:
        """The first reasons for which the PIM would refuse the step."""
        return self._shaped.flaws if self._shaped else ()

    @property
    def missing_options(self) -> Sequence[MissingOption]:
        """The options that the step names and the PIM does not have."""
        return self._shaped.missing_options if self._shaped else ()

    @property
    def lacks_only_options(self) -> bool:
        """Whether nothing is wrong with the step but that options are missing."""
        return self._shaped is not None and self._shaped.missing_count == self._shaped.flaws_count

    def body(self) -> UpsertAsset:
        """Return the command to send for an upsert step, with the codes of its files."""
        command = self._command()
        return command if self.files is None else with_codes(command, self.files.found)

    def _command(self) -> UpsertAsset:
        if self._shaped is None:
            return body_of(self.step)
        return UpsertAsset(self.asset, self._shaped.values, self.step.size)

    @property
    def has_files(self) -> bool:
        """Whether any change of the step names a file."""
        for change in self._steps[0].changes:  # noqa: SIM110 - it is asked for every asset
            if change.command.has_files:
                return True
        return False

    def places(self) -> list[Place]:
        """Return where the step names files: one that a later value replaces is not named."""
        values = self._command().values
        return list(dict.fromkeys(places_in(values))) if isinstance(values, dict) else []

    def end_by_files(self) -> bool:
        """End the step if a file ends it; merged changes are sent one by one instead.

        Return False if none does.
        """
        ending = self._ending_by_files()
        if ending is None:
            return False
        self._end_or_take_apart(ending)
        return True

    @property
    def is_ended_by_files(self) -> bool:
        """Whether a file ends the step."""
        return self._ending_by_files() is not None

    def _ending_by_files(self) -> Ending | None:
        ends = self.files.ends if self.files is not None else {}
        return next((ends[place] for place in self.places() if place in ends), None)

    def reject_flawed(self) -> None:
        """Reject the step because of its flaws; merged changes are sent one by one instead."""
        errors = tuple(self.flaws)
        assert errors
        assert self._shaped is not None
        message = sentence(errors, self._shaped.flaws_count)
        self._end_or_take_apart(
            Ending("rejected", reason="invalid_values", message=message, errors=errors)
        )

    def apply(self, response: PimResponse, result: Result) -> None:
        """End the step's changes: the PIM applied it."""
        step = self._steps.pop(0)
        last = step.changes[-1]
        for change in step.superseded:
            self._end(change, Ending("superseded", by=last.outcome_id))
        for change in step.changes[:-1]:
            self._end(change, Ending("applied", "merged", response=response, by=last.outcome_id))
        self._end(last, Ending("applied", result, response=response))
        self._reset()

    def end_alone(self) -> Change | None:
        """End the work on a single change without files, and return it; None for any other."""
        if len(self._unreleased) > 1 or self.files is not None:
            return None
        (change,) = self._unreleased
        self._unreleased.clear()
        self._steps.clear()
        return change

    def refuse(self, reason: Reason, response: PimResponse) -> None:
        """Reject the step that the PIM refused; merged changes are sent one by one instead."""
        self._end_or_take_apart(Ending("rejected", reason=reason, response=response))

    def reject_step(self, reason: Reason, response: PimResponse) -> None:
        """Reject every change of the step, merged or not, for the same reason."""
        self._finish_step(Ending("rejected", reason=reason, response=response))
        self._reset()

    def fail_step(self, failure: Failure, message: str) -> None:
        """Fail the current step; the steps after it are still done."""
        self._finish_step(failed(failure, message))
        self._reset()

    def fail(self, failure: Failure, message: str) -> None:
        """Fail the step because its retry budget is used up.

        With an upsert, all later steps of the same spelling fail with it.
        """
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
        """Return what ended, in order for each spelling; each group is committed as a whole."""
        released: list[Ended] = []
        group: list[tuple[Change, Ending]] = []
        remaining: list[Change] = []
        waiting: set[Asset] = set()
        for index, change in enumerate(self._unreleased):
            if not self._endings:
                remaining += self._unreleased[index:]
                break
            if change.asset in waiting or id(change) not in self._endings:
                waiting.add(change.asset)
                remaining.append(change)
                continue
            ending = self._endings.pop(id(change))
            group.append((change, ending))
            if ending.by is None:
                released.append(tuple(group))
                group = []
        assert not group, "an outcome is released together with the outcome that it names"
        self._unreleased = remaining
        return released

    def forget_shape(self) -> None:
        """Shape the step's values again later: the asset waits for another structure."""
        self._shaped = self._shaped_by = None

    def _end_or_take_apart(self, ending: Ending) -> None:
        if len(self.step.changes) > 1:
            self._steps[:1] = one_by_one(self._steps[0])
        else:
            self._finish_step(ending)
        self._reset()

    def _finish_step(self, ending: Ending) -> None:
        """End the step's changes alike; the upserts that a delete superseded are sent after all."""
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
        self._endings[id(change)] = with_files(ending, change, self.files)

    def _reset(self) -> None:
        if self._steps:
            self.asset = self._steps[0].changes[0].asset
        self.is_new = False
        self.forget_failures()
        self._shaped = self._shaped_by = None

    def forget_failures(self) -> None:
        """Begin a new retry budget: the step has ended, or a file of it was uploaded."""
        self.own_failures = 0
        self.successes_beside = 0
        self.failing_since = None
        self.last_failure = None


def _judge(change: Change, structure: Structure) -> bool:
    """Judge an upsert's values as JSON, and keep their long form; False if the careful way must."""
    upsert = change.command
    assert isinstance(upsert, UpsertAsset)
    if not isinstance(upsert.values, Raw):
        return False
    long = structure.long_form.of(upsert.values)
    if long is None:
        return False
    change.command = UpsertAsset(upsert.asset, long, upsert.size, structure.long_form)
    return True


def with_files(ending: Ending, change: Change, files: WorkFiles | None = None) -> Ending:
    """Return the ending of a change with what became of the files that it named, if it named any.

    `files` is None if the change ended before anybody looked for them.
    """
    if not change.command.has_files:
        return ending
    return msgspec.structs.replace(ending, files=(files or WorkFiles()).of_change(change))


def failed(failure: Failure, message: str) -> Ending:
    """Return the ending of a change whose retry budget is used up."""
    return Ending("failed", reason=failure.reason, response=failure.response, message=message)
