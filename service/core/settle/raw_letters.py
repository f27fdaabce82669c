"""Decide which items of dead raw records a replay treats (contract.md §7).

A raw record may hold many items, of which some died. The outcome of an item names its asset, if the
mapping got that far. An item is overtaken by a later change of its asset from the same raw topic
and partition that was applied: the `causationid` of that outcome names the item it came from. Codes
that differ only in case count as one asset, since a PIM may treat them as one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from service.contracts.text import natural_number
from service.core.model import Asset, Partition
from service.core.settle.dead_letters import DeadLetter, LeftOut, ReplayOptions
from service.core.settle.report import PART_SIGN


@dataclass(slots=True)
class RawItems:
    """What the outcomes say of the items that died, and of later changes of their assets."""

    wanted: frozenset[str]
    """The outcome ids of the items."""
    _assets: dict[str, Asset] = field(default_factory=dict)
    """The asset of each of these outcomes, with its code's case folded."""
    _applied: dict[tuple[Asset, Partition], int] = field(default_factory=dict)
    """The latest raw record of each asset and raw partition of which a change was applied."""

    @classmethod
    def of(cls, letters: Iterable[DeadLetter]) -> "RawItems":
        """Begin with the items of these dead letters."""
        return cls(frozenset(id_ for letter in letters for id_ in letter.outcome_ids))

    def add_end(self, outcome_id: str, asset: Asset) -> None:
        """Note the asset of an item that died."""
        if outcome_id in self.wanted:
            self._assets[outcome_id] = asset.folded

    def add_applied(self, asset: Asset, cause: str | None) -> None:
        """Note that a change was applied which was made from this item of a raw record."""
        at = _raw_record(cause)
        if at is not None:
            partition, offset = at
            key = (asset.folded, partition)
            self._applied[key] = max(offset, self._applied.get(key, -1))

    def assets(self) -> frozenset[Asset]:
        """Return the assets of the items with their case folded, as far as they are known."""
        return frozenset(self._assets.values())

    def remaining(self, letter: DeadLetter, options: ReplayOptions) -> DeadLetter | LeftOut:
        """Return the dead letter with the items to replay alone, or why there is none."""
        assert letter.origin is not None
        if options.include_overtaken:
            return letter
        reasons = [self._left_out(letter, id_, options) for id_ in letter.outcome_ids]
        found = next((reason for reason in reasons if reason is not None), None)
        if found is None:
            return letter
        kept = zip(letter.parts, reasons, strict=False)
        parts = tuple(part for part, reason in kept if reason is None)
        return replace(letter, parts=parts) if parts else found

    def _left_out(
        self, letter: DeadLetter, outcome_id: str, options: ReplayOptions
    ) -> LeftOut | None:
        assert letter.origin is not None
        at = letter.origin
        asset = self._assets.get(outcome_id)
        if asset is None:
            is_fresh = at.partition.topic in options.read_back_topics
            return None if is_fresh else "of an unknown asset"
        is_overtaken = self._applied.get((asset, at.partition), -1) > at.offset
        return "overtaken" if is_overtaken else None


def _raw_record(cause: str | None) -> tuple[Partition, int] | None:
    """Return partition and offset of an id such as `TOPIC/3/1207#2`; None for any other text."""
    record_id, sign, _ = (cause or "").partition(PART_SIGN)
    topic, _, rest = record_id.partition("/")
    number, _, offset = rest.partition("/")
    found = natural_number(number), natural_number(offset)
    if not sign or found[0] is None or found[1] is None:
        return None
    return Partition(topic, found[0]), found[1]
