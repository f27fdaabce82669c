"""What the requests of one call find out together."""

import pytest

from service.core.inputs import CallReply
from service.core.model import Asset, UpsertAsset
from service.core.requests import DeleteOne, Exchange, GetFamilies, GetFamily, UpsertAssets
from service.core.send.exchange import write
from service.core.send.families import Families
from service.core.verdict_types import Absent, Suspicious, UnknownFamily, Verdict

WRITE = UpsertAssets("packshots", (UpsertAsset(Asset("packshots", "a"), {}, 2),))
DELETE = DeleteOne("packshots", "a")
UNKNOWN = CallReply(404, is_from_pim=True)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (None, UnknownFamily),
        (frozenset({"manuals"}), UnknownFamily),
        (frozenset({"manuals", "packshots"}), Suspicious),
    ],
)
def test_a_family_that_the_list_names_is_not_unknown(
    listed: frozenset[str] | None, expected: type[Verdict]
) -> None:
    """A PIM that contradicts itself has a fault; the changes of the family must not be rejected."""
    exchange = Exchange(write(WRITE, "upsert", "packshots", ["a"], Families()))
    assert exchange.take(UNKNOWN, 0.0) is None
    asked = [exchange.request]
    assert exchange.take(UNKNOWN, 0.0) is None
    asked.append(exchange.request)
    assert asked == [GetFamily("packshots"), GetFamilies()]

    verdict = exchange.take(CallReply(200, is_from_pim=True, families=listed), 0.0)

    assert isinstance(verdict, expected)


def without_packshots() -> Families:
    """A list was read at 0 s that does not have the family."""
    known = Families()
    known.keep_list(frozenset({"manuals"}), 0.0)
    return known


def test_a_list_decides_what_the_404_to_an_upsert_means() -> None:
    """That answer is about the family, and newer than the list."""
    exchange = Exchange(write(WRITE, "upsert", "packshots", ["a"], without_packshots()))

    assert isinstance(exchange.take(UNKNOWN, 20.0), UnknownFamily)


@pytest.mark.parametrize(
    ("found", "expected"),
    [(CallReply(200, is_from_pim=True), Absent), (UNKNOWN, UnknownFamily)],
)
def test_a_delete_is_not_judged_by_a_list_alone(found: CallReply, expected: type[Verdict]) -> None:
    """The family may be newer than the list; where it is unknown, the list is not read again."""
    exchange = Exchange(write(DELETE, "delete", "packshots", ["a"], without_packshots()))
    assert exchange.take(UNKNOWN, 20.0) is None
    assert exchange.request == GetFamily("packshots")

    assert isinstance(exchange.take(found, 20.1), expected)


@pytest.mark.parametrize("written_at", [-5.0, 5.0])
def test_a_write_that_succeeded_shows_that_a_deleted_asset_is_absent(written_at: float) -> None:
    """If a later list does not have the family, the family is asked for all the same."""
    known = without_packshots()
    known.mark_seen("packshots", written_at)
    exchange = Exchange(write(DELETE, "delete", "packshots", ["a"], known))

    assert isinstance(exchange.take(UNKNOWN, 20.0), Absent) == (written_at > 0)
    assert (exchange.request == GetFamily("packshots")) == (written_at < 0)
