"""Plans which faults happen, and when: the same for the same seed."""

import random
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "kill", "terminate", "freeze", "kill_broker", "slow_broker",
    "kafka_cut", "kafka_delay", "kafka_throttle", "kafka_silence",
    "pim_cut", "pim_delay", "pim_throttle", "pim_down", "pim_errors", "pim_429",
    "pim_half", "tokens_lost", "poison", "slow_upload",
]  # fmt: skip
"""The kinds of faults."""

GAP_SECONDS = (1.0, 6.0)
LONGEST_SECONDS = 8.0


@dataclass(frozen=True)
class Incident:
    """A fault that begins at `at` and lasts for `seconds`; some hit only the `replica`."""

    at: float
    kind: Kind
    seconds: float
    replica: int


def plan(seed: int, seconds: float, replicas: int) -> list[Incident]:
    """Return incidents for this many seconds, each kind about as often; several may overlap."""
    chance = random.Random(seed)
    incidents: list[Incident] = []
    kinds: list[Kind] = []
    at = chance.uniform(*GAP_SECONDS)
    while at < seconds:
        if not kinds:
            kinds = list(get_args(Kind))
            chance.shuffle(kinds)
        incidents.append(
            Incident(
                at, kinds.pop(), chance.uniform(0.5, LONGEST_SECONDS), chance.randrange(replicas)
            )
        )
        at += chance.uniform(*GAP_SECONDS)
    return incidents
