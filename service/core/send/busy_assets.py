"""The busy assets, each with one piece of work, from its first call to its last outcome.

Rule 1: an asset has one piece of work at a time. Its later changes wait behind it, because a
change that was sent beside an earlier one could overtake it.
Rule 2: while a revocation drains, work that is not in flight is dropped: the next owner of its
partition reads those changes again.
"""

from collections.abc import Iterable, Iterator, Mapping

from service.contracts.outcome import DELETE, UPSERT
from service.core.group.asset_work import AssetWork, failed, with_files
from service.core.group.window import Windows
from service.core.media.files import Files
from service.core.model import Asset, Change, Now, Partition
from service.core.news import News
from service.core.recover.lanes import Lanes
from service.core.send.held_deletes import HeldDeletes
from service.core.settle.released import Positions
from service.core.verdict_types import Failure


class BusyAssets:
    """Keeps the work of every busy asset, and decides where it goes after each step."""

    def __init__(
        self, windows: Windows, lanes: Lanes, files: Files, held: HeldDeletes, news: News
    ) -> None:
        self._held = held
        self._files = files
        self._windows = windows
        self._lanes = lanes
        self._news = news
        self._works: dict[Asset, AssetWork] = {}
        """By the asset with its case folded."""
        self.only_in_flight = False
        """Set while a revocation drains."""

    def __len__(self) -> int:
        return len(self._works)

    def get(self, asset: Asset) -> AssetWork | None:
        """Return the work of this asset, whatever the case of its code."""
        return self._works.get(asset.folded)

    def add(self, change: Change, now: float) -> None:
        """Let an admitted change wait: behind its asset's work or a held delete, or in a window."""
        command = change.command
        asset = command.asset.folded
        if self._held.by_family and self._held.has(asset):
            self._held.keep(change)  # even if its asset is busy: with what came before the delete
        elif (work := self._works.get(asset)) is not None:
            work.behind.append(change)
            if work.files is not None and self._files.may_merge(work, change.admitted_at):
                self._merge_again(work, now)
        elif command.action != DELETE or not self._held.takes(change, now):
            self._windows.add(asset, change, now)

    def _merge_again(self, work: AssetWork, now: float) -> None:
        """Let the changes of an asset that waits for files enter a window with those behind it.

        So a file that a later change replaces is not fetched at all.
        """
        self._files.leave(work, now)
        for change in work.open_changes:
            self._windows.add(work.key, change, now)
        self.free(work, now)

    def let_go(self, now: Now) -> None:
        """Let deletes enter their windows that the ceiling admits by now."""
        self._enter(self._held.take_admitted(now.seconds), now)

    def release(self, positions: Positions, ends: Mapping[Partition, int], now: Now) -> None:
        """Let all held deletes enter their windows, because an operator released them."""
        self._enter(self._held.release(positions, ends), now)

    def _enter(self, changes: list[Change], now: Now) -> None:
        for change in changes:
            change.admitted_at = now.budget  # what waited for a person has used up no budget
            self.add(change, now.seconds)

    def hold(self, works: Iterable[AssetWork]) -> None:
        """Make each asset busy with its work."""
        for work in works:
            assert self._works.setdefault(work.key, work) is work, "one asset, one piece of work"

    def keeps(self, batch: Iterable[AssetWork]) -> bool:
        """Return whether these may go on; while a revocation drains they are dropped instead."""
        if not self.only_in_flight:
            return True
        for work in batch:
            self._works.pop(work.key, None)
        return False

    def drop_except(self, sent: Iterable[AssetWork]) -> None:
        """Drop all work but what is in flight, with the changes that wait behind any."""
        self._works = {work.key: work for work in sent}
        for work in self._works.values():
            work.behind.clear()
        self._held.forget(self.open_changes())

    def open_changes(self) -> Iterator[Change]:
        """Yield every change that is in work or waits behind work."""
        for work in self._works.values():
            yield from work.open_changes
            yield from work.behind

    # --- after a step ------------------------------------------------------------------------

    def step_ended(self, work: AssetWork, now: Now, *, refused: bool = True) -> None:
        """Release the outcomes that are known, and go on with the next step.

        After a refusal, and for a delete, the next step goes in a call of its own.
        """
        self._news += work.take_ended()
        if work.files is not None:
            self._files.leave(work, now.seconds)
        if work.is_over:
            self.free(work, now.seconds)
        elif self.only_in_flight:
            del self._works[work.key]
        elif refused or work.action == DELETE:
            self._lanes.isolate(work, now.seconds)
        else:
            self._windows.resume(work)

    def free(self, work: AssetWork, now: float) -> None:
        """End the work: the changes that waited behind it enter their window, if they may.

        If a delete of the asset was held before, they come from before it, and were let through.
        """
        del self._works[work.key]
        if not work.behind:
            return
        is_held = self._held.has(work.key)
        for change in work.behind:
            if is_held:
                self._windows.add(work.key, change, now)
            else:
                self.add(change, now)

    def go_on(self, works: Iterable[AssetWork], now: Now) -> None:
        """Go on with assets that wait for no file any more: send their step, or end it."""
        for work in works:
            if not self.keeps([work]):
                continue
            if work.end_by_files():
                self.step_ended(work, now)
            else:
                self._windows.resume(work)

    # --- giving up ---------------------------------------------------------------------------

    def fail_work(self, work: AssetWork, failure: Failure, message: str, now: Now) -> None:
        """Fail the step; of an upsert, also every change of the asset that waits."""
        asset, is_upsert = work.asset, work.action == UPSERT
        if (file := self._files.give_up_upload(work)) is not None:
            message = f"{message} The file {file} could not be uploaded."
        work.fail(failure, message)
        behind = [change for change in work.behind if is_upsert and change.asset == asset]
        if behind:
            work.behind = [change for change in work.behind if change.asset != asset]
        self.step_ended(work, now)
        self.fail_waiting(behind, failure, message)

    def fail_step(self, work: AssetWork, failure: Failure, message: str, now: Now) -> None:
        """Fail the step alone: other steps and what waits behind go on."""
        work.fail_step(failure, message)
        self.step_ended(work, now)

    def fail_waiting(self, changes: list[Change], failure: Failure, message: str) -> None:
        """Fail changes that waited without a call, in order."""
        for change in changes:
            ending = with_files(failed(failure, message), change)
            self._news.append(((change, ending),))
