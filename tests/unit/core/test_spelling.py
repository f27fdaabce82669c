"""Codes that differ only in case: one asset to some PIMs, two to others (contract.md §4)."""

from service.core.inputs import CallReply, ItemReply
from service.core.read.value_forms import taken_apart
from service.core.requests import DeleteOne, UpsertAssets
from tests.support.drive import Drive, codes_of


class FoldingPim:
    """A PIM that takes `X_1` and `x_1` for one asset; it answers with the spelling it was asked."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, object]] = {}

    def answer(self, request: object, _: float) -> CallReply | None:
        """Apply the request to the folded code."""
        if isinstance(request, DeleteOne):
            is_there = self.values.pop(request.code.casefold(), None) is not None
            return CallReply(204) if is_there else CallReply(404, is_from_pim=True)
        if not isinstance(request, UpsertAssets):
            return None
        for asset in request.assets:
            values = {name: found[0].data for name, found in taken_apart(asset.values).items()}
            self.values.setdefault(asset.asset.code.casefold(), {}).update(values)
        items = tuple(ItemReply(asset.asset.code, 204) for asset in request.assets)
        return CallReply(200, is_from_pim=True, items=items)


def test_spellings_of_one_code_are_applied_in_order() -> None:
    """The last one wins, whichever spelling it has."""
    pim = FoldingPim()
    drive = Drive(pim.answer)
    for number, code in enumerate(("X_1", "x_1", "X_1", "ß", "SS")):
        drive.upsert("packshots", code, v=str(number))
    drive.run()

    assert pim.values == {"x_1": {"v": "2"}, "ss": {"v": "4"}}
    assert drive.statuses() == {"applied": 5}


def test_spellings_of_one_code_share_no_call() -> None:
    """And are not merged: each has a call of its own."""
    drive = Drive()
    ids = [drive.upsert("packshots", code) for code in ("A", "a", "b", "A")]
    drive.run()

    assert [codes_of(sent.request) for sent in drive.writes] == [{"A", "b"}, {"a"}, {"A"}]
    assert all(drive.outcomes[id_]["result"] != "merged" for id_ in ids)


def test_a_delete_supersedes_only_what_is_spelled_like_it() -> None:
    """An upsert of another spelling is another asset to a PIM that does not fold."""
    drive = Drive()
    other = drive.upsert("packshots", "x")
    own = drive.upsert("packshots", "X")
    delete = drive.delete("packshots", "X")
    drive.run()

    assert drive.outcomes[own]["superseded_by"] == delete
    assert drive.outcomes[other]["status"] == "applied"
    assert [type(sent.request) for sent in drive.writes] == [UpsertAssets, DeleteOne]


def test_a_spelling_that_fails_takes_no_other_with_it() -> None:
    """Its own later changes fail with it; the other spelling's go on, each in its order."""
    drive = Drive(lambda r, _: CallReply(500) if "X" in codes_of(r) else None)
    bad = [drive.upsert("packshots", "X", v="0")]
    good = [drive.upsert("packshots", "x", v="1")]
    bad.append(drive.upsert("packshots", "X", v="2"))
    for second in range(300):
        drive.upsert("traffic", f"t{second}")
        drive.run(1)

    assert drive.statuses(bad) == {"failed": 2}
    assert drive.statuses(good) == {"applied": 1}
    assert drive.settled_at[bad[0]] <= drive.settled_at[bad[1]]
