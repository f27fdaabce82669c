"""What a replay of a raw record asks for (contract.md §7).

A replay brings a raw record back under a new offset. So its items get new outcome ids, and each
names the outcome of the item that it replays.
"""

from dataclasses import dataclass

from service.core.model import Headers
from service.core.settle.report import (
    PART_SIGN,
    REPLAY_COUNT_HEADER,
    REPLAY_HEADER,
    REPLAY_PARTS_HEADER,
    read_parts,
)


@dataclass(frozen=True, slots=True)
class Replay:
    """What the headers of a replay say; those of any other record say nothing."""

    of: str | None = None
    """The outcome id of the first item that died, or of the record as a whole."""
    count: str | None = None
    parts: frozenset[int] | None = None
    """The numbers of the only items to treat; None means all items."""

    def of_item(self, part: int | None) -> str | None:
        """Return the outcome id of what the item with this number is the replay of."""
        if self.of is None or part is None or self.parts is None:
            return self.of
        record_id, _, _ = self.of.partition(PART_SIGN)
        return f"{record_id}{PART_SIGN}{part}"

    def headers(self, part: int) -> Headers:
        """Return the headers by which the change of an item shows that it is a replay."""
        of = self.of_item(part)
        if of is None:
            return ()
        count = self.count or "1"
        return ((REPLAY_HEADER, of.encode()), (REPLAY_COUNT_HEADER, count.encode()))


NO_REPLAY = Replay()


def replay_of(headers: Headers) -> Replay:
    """Return what the headers of a raw record say of a replay."""
    if not headers:
        return NO_REPLAY
    found = {
        name: content.decode("utf-8", "replace")
        for name, content in headers
        if content and name in {REPLAY_HEADER, REPLAY_COUNT_HEADER, REPLAY_PARTS_HEADER}
    }
    return Replay(
        of=found.get(REPLAY_HEADER),
        count=found.get(REPLAY_COUNT_HEADER),
        parts=read_parts(found.get(REPLAY_PARTS_HEADER)),
    )
