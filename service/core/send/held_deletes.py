"""The deletes that the ceiling holds back, with the later changes of their assets.

Rule 1: a delete beyond the ceiling enters no window. It waits here, and so does every later change
of its asset, in order; other assets go on.
Rule 2: a release lets go all that waits here and all records that the partitions have by then. They
are not counted, because they are the rest of the same events.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from service.contracts.outcome import DELETE
from service.core.delete_ceiling import DeleteCeiling
from service.core.facts import DeleteCeilingReached, DeletesReleased
from service.core.group.asset_work import Ended, Ending
from service.core.model import Asset, Change, Partition
from service.core.news import News
from service.core.settle.released import Positions, ReleasedRecords


class HeldDeletes:
    """Decides whether a change may enter a window, and keeps those that may not."""

    def __init__(self, per_hour_max: int, news: News) -> None:
        self._ceiling = DeleteCeiling(per_hour_max)
        self.by_family: dict[str, dict[Asset, list[Change]]] = {}
        """By family and asset (with its case folded), the assets in the order of their deletes."""
        self._under_way: Counter[str] = Counter()
        """By family, the deletes that were let through and have not ended."""
        self._with_room: set[str] = set()
        """Families of which a delete ended since the last look."""
        self.released = ReleasedRecords()
        """Their deletes go, and are not counted."""
        self._changes = 0
        self._news = news
        """What happens is appended here, like all that the parts of the dispatcher ask for."""

    def __len__(self) -> int:
        return self._changes

    @property
    def reached(self) -> tuple[str, ...]:
        """The families whose deletes wait for an operator."""
        return self._ceiling.reached

    def waiting_by_family(self) -> dict[str, int]:
        """Return the number of assets that wait here, by family."""
        return {family: len(assets) for family, assets in self.by_family.items()}

    def changes(self) -> Iterator[Change]:
        """Yield every change that waits here, by family and asset."""
        for assets in self.by_family.values():
            yield from chain.from_iterable(assets.values())

    # --- coming ------------------------------------------------------------------------------

    def has(self, asset: Asset) -> bool:
        """Return whether a delete of this asset waits here."""
        return asset.folded in self.by_family.get(asset.family, ())

    def keep(self, change: Change) -> None:
        """Let the change wait, behind the others of its asset."""
        self.by_family.setdefault(change.asset.family, {}).setdefault(
            change.asset.folded, []
        ).append(change)
        self._changes += 1

    def takes(self, change: Change, now: float) -> bool:
        """Keep the change if it is a delete beyond the ceiling; return whether it is."""
        if change.action != DELETE or self._goes(change, now):
            return False
        self.keep(change)
        return True

    def _goes(self, change: Change, now: float) -> bool:
        if change.is_delete_admitted or self._is_released(change):
            return True
        family = change.asset.family
        if not self._admits(family, now):
            return False
        change.is_delete_admitted = True
        self._under_way[family] += 1
        return True

    def _admits(self, family: str, now: float) -> bool:
        was_reached = family in self._ceiling.reached
        if self._ceiling.admits(family, now, self._under_way[family]):
            return True
        if not was_reached and family in self._ceiling.reached:
            self._news.append(DeleteCeilingReached(family))
        return False

    def _is_released(self, change: Change) -> bool:
        origin = change.record.origin
        return self.released.has(origin.partition, origin.offset)

    # --- going -------------------------------------------------------------------------------

    def ended(self, ended: Ended, now: float) -> None:
        """Take note of the ends of changes: a delete that was carried out counts."""
        for change, ending in ended:
            if change.is_delete_admitted:
                self._end(change, ending, now)

    def _end(self, change: Change, ending: Ending, now: float) -> None:
        family = change.asset.family
        change.is_delete_admitted = False
        self._under_way[family] -= 1
        if not self._under_way[family]:
            del self._under_way[family]
        self._with_room.add(family)
        if ending.result == "deleted":
            self._ceiling.count(family, now)

    def take_admitted(self, now: float) -> list[Change]:
        """Take out the assets whose deletes may go by now, because others deleted nothing."""
        taken: list[Change] = []
        for family in sorted(self._with_room & self.by_family.keys()):
            for asset, (first, *_) in list(self.by_family[family].items()):
                if not self._goes(first, now):
                    break
                taken += self._take(asset)
        self._with_room.clear()
        return taken

    def release(self, positions: Positions, ends: Mapping[Partition, int]) -> list[Change]:
        """Let everything go that waits, was read, or is below these offsets."""
        if not self._ceiling.reached:
            return []
        self._ceiling.release()
        self.released.cover(positions, ends)
        self._news.append(DeletesReleased(self._changes))
        waiting = [asset for assets in self.by_family.values() for asset in assets]
        return [change for asset in waiting for change in self._take(asset)]

    def forget(self, in_flight: Iterable[Change]) -> None:
        """Drop what waits: the assignment is over. These changes are still in flight."""
        self.by_family.clear()
        self._changes = 0
        self._under_way = Counter(
            change.asset.family for change in in_flight if change.is_delete_admitted
        )

    def _take(self, asset: Asset) -> list[Change]:
        assets = self.by_family[asset.family]
        changes = assets.pop(asset)
        if not assets:
            del self.by_family[asset.family]
        self._changes -= len(changes)
        return changes
