"""How much a translator maps in one step, before everybody else gets a turn.

Rule 1: the event loop waits for a step, and with it the heartbeats of all sources of the replica.
So a step ends when its mapping has cost enough, whatever waits: 10,000 events of one asset are
decided by one answer of their DAM.
Rule 2: records and answers have a turn each in every step, so that neither waits for the other.
Rule 3: a turn maps one record or decides one item at least, so that it always gets on.
"""

COST_MAX = 20_000
"""Most steps of mapping (`mapping/work.py`) in one turn: about 10 ms, so that twenty sources that
are busy at once leave time for heartbeats."""

BASIC_COST = 50
"""What each record and each decision costs besides, in the same unit."""

BYTES_PER_COST = 64
"""Decoding and encoding so many bytes costs one."""


def cost_of(steps: int, size: int) -> int:
    """Return the cost of a mapping that took so many steps and read or made so many bytes."""
    return BASIC_COST + steps + size // BYTES_PER_COST
