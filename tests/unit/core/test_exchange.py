"""What the requests of one call find out together."""

import pytest

from service.core.inputs import CallReply
from service.core.model import Asset, UpsertAsset
from service.core.requests import Exchange, GetFamilies, GetFamily, UpsertAssets
from service.core.send.exchange import write
from service.core.send.families import Families
from service.core.verdict_types import Suspicious, UnknownFamily, Verdict

WRITE = UpsertAssets("packshots", (UpsertAsset(Asset("packshots", "a"), {}, 2),))
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
