"""The simulation finds the known wrong designs: else its silence would prove nothing."""

import contextlib

import pytest

from service.core.delete_ceiling import DeleteCeiling
from service.core.effects import Drained
from service.core.group.asset_work import AssetWork, Ending
from service.core.group.work_files import Content
from service.core.media import downloads, uploads
from service.core.media.downloads import Downloads
from service.core.media.entry import FileEntry, FileState
from service.core.media.uploads import Uploads
from service.core.membership import Membership
from service.core.model import Asset, Change, Now
from service.core.requests import UploadFile
from service.core.send.busy_assets import BusyAssets
from service.core.send.dispatcher import Dispatcher
from service.core.send.gate import Gate
from service.core.send.held_deletes import HeldDeletes
from service.core.settle import ledger, offset_map
from service.core.settle.transaction_size import TransactionSize
from tests.simulation.plan import Trouble, plan
from tests.simulation.world import World

pytestmark = pytest.mark.slow

WORLDS_MAX = 400


def finds_a_flaw(first: int = 0, trouble: Trouble = "everything") -> bool:
    """Whether the auditor finds any of the worlds from a seed on wrong.

    A mutated core may also trip over itself; that is no find of the simulation's. `first` is near
    the first world that shows the flaw today; from any other it takes longer.
    """
    for seed in range(first, first + WORLDS_MAX):
        with contextlib.suppress(AssertionError, KeyError):
            if World(plan(seed, trouble)).run():
                return True
    return False


def test_it_finds_deletes_without_a_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken export empties the PIM before anybody looks."""
    monkeypatch.setattr(DeleteCeiling, "admits", lambda *_, **__: True)

    assert finds_a_flaw(29)


def test_it_finds_changes_that_pass_a_held_delete(monkeypatch: pytest.MonkeyPatch) -> None:
    """An asset whose delete waits for a person is not to be written by a later upsert."""
    monkeypatch.setattr(HeldDeletes, "has", lambda *_: False)

    assert finds_a_flaw(7)


def test_it_finds_acking_the_whole_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Committing the position instead of the watermark loses what was open."""

    def everything(book: ledger._PartitionLedger, chosen: set[int]) -> int:  # noqa: ARG001
        return book.position

    monkeypatch.setattr(ledger._PartitionLedger, "watermark_with", everything)

    assert finds_a_flaw(71)


def test_it_finds_publishing_without_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes above the watermark come again after a restart."""

    def nothing(watermark: int, settled: int, binding: object) -> str:  # noqa: ARG001
        return ""

    monkeypatch.setattr(offset_map, "encode", nothing)

    assert finds_a_flaw()


def test_it_finds_transactions_that_stay_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker with a quota never takes them in time, however often they are tried."""
    monkeypatch.setattr(TransactionSize, "not_in_time", lambda *_: None)

    assert finds_a_flaw()


def test_it_finds_forgetting_the_restored_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier owner settled is to be written into every later map too."""
    stock = ledger.Ledger._transaction

    def forgetful(self: ledger.Ledger, taken: list[ledger.Group]) -> object:
        for partition, offsets in ledger._offsets(taken).items():
            book = self._partitions[partition]
            book.above &= (1 << book.position - book.watermark) - 1
            assert offsets
        return stock(self, taken)

    monkeypatch.setattr(ledger.Ledger, "_transaction", forgetful)

    assert finds_a_flaw()


def test_it_finds_walking_away_from_calls_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that nobody waits for, or cuts, lands after the new owner's."""
    finish, forget = Membership.maybe_finish, Dispatcher.forget

    def hasty(self: Membership, now: float) -> None:
        if self.is_revoked:
            if not self._is_drained:
                self._is_drained = True
                self._effects.append(Drained(self._outbox.ledger.pending_changes))
            return
        finish(self, now)

    def leave_them(self: Dispatcher) -> None:
        self.gate.in_flight.clear()  # so that none is cut
        forget(self)

    monkeypatch.setattr(Membership, "maybe_finish", hasty)
    monkeypatch.setattr(Dispatcher, "forget", leave_them)

    assert finds_a_flaw(6)


def test_it_finds_superseded_settled_before_its_delete(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delete may fail after all; then what it superseded was lost."""
    stock = AssetWork.of

    def rash(key: Asset, changes: list[Change], bytes_max: int) -> AssetWork:
        work = stock(key, changes, bytes_max)
        step = work._steps[0]
        for change in step.superseded:
            work._endings[id(change)] = Ending("superseded", by=step.changes[-1].outcome_id)
        if step.superseded:
            work._steps[0] = type(step)(step.action, step.changes, (), step.size)
        return work

    monkeypatch.setattr(AssetWork, "of", rash)

    assert finds_a_flaw(8)


def test_it_finds_overtaking_while_a_merge_is_taken_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An asset is busy until every change of its batch is settled."""
    stock = BusyAssets.step_ended

    def careless(self: BusyAssets, work: AssetWork, now: Now, *, refused: bool = True) -> None:
        stock(self, work, now, refused=refused)
        if refused and not work.is_over:
            self._works.pop(work.asset, None)
            behind, work.behind = list(work.behind), type(work.behind)()
            for change in behind:
                self._windows.add(work.key, change, now.seconds)
            monkeypatch.setattr(self, "free", lambda *_: None)

    monkeypatch.setattr(BusyAssets, "step_ended", careless)

    assert finds_a_flaw(3)


def test_it_finds_uploads_in_more_than_half_of_the_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads of minutes would leave no slot for writes."""
    monkeypatch.setattr(Gate, "may_upload", True)

    assert finds_a_flaw(23)


def test_it_finds_downloads_that_reserve_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fits, and all together fill the disk."""
    stock = Downloads._resize

    def late(self: Downloads, entry: FileEntry, size: int) -> None:
        stock(self, entry, 0 if entry.state is FileState.DOWNLOADING else size)

    monkeypatch.setattr(Downloads, "_resize", late)

    assert finds_a_flaw()


def test_it_finds_files_that_nobody_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up with what was uploaded long ago."""
    monkeypatch.setattr(Downloads, "stop", lambda *_: None)

    assert finds_a_flaw()


def test_it_finds_uploads_that_end_with_their_asset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else waits for the file would wait for ever."""
    monkeypatch.setattr(Uploads, "leave", lambda *_: None)

    assert finds_a_flaw(15)


def test_it_finds_a_file_that_is_not_what_the_event_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that lies puts another picture onto the product."""
    monkeypatch.setattr(downloads, "_flaw_of", lambda *_: None)

    assert finds_a_flaw(48)


def test_it_finds_a_download_that_began_before_a_change_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The URL may lead to another file by then, and that is what the change is about."""
    monkeypatch.setattr(FileEntry, "is_newer_than", lambda *_: True)

    assert finds_a_flaw(13, "calm")


def test_it_finds_an_emptied_file_that_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its size, nobody sees that a file on disk is not the one that was fetched."""

    def unmeasured(file_id: int, name: str, content_type: str | None, _size: int) -> UploadFile:
        return UploadFile(file_id, name, content_type)

    monkeypatch.setattr(uploads, "UploadFile", unmeasured)

    assert finds_a_flaw(58)


def test_it_finds_tries_that_a_full_disk_uses_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full for half a minute is no reason to fail a change."""
    stock = FileEntry.note_failure

    def counted(self: FileEntry, budget: float, *, is_of_disk: bool) -> None:  # noqa: ARG001
        stock(self, budget, is_of_disk=False)

    monkeypatch.setattr(FileEntry, "note_failure", counted)

    assert finds_a_flaw(90)


def test_it_finds_uploads_that_are_not_shared_by_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each URL of a content would become a file of the PIM."""
    stock = vars(FileEntry)["content"].fget

    def own(self: FileEntry) -> Content:
        digest, extension = stock(self)
        return digest, f"{extension}{self.id}"

    monkeypatch.setattr(FileEntry, "content", property(own))

    assert finds_a_flaw(34)
