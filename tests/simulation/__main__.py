"""`make sim SEEDS=10000`: run worlds, say which failed and why; exit 1 where one did."""

import argparse
import multiprocessing
import os
import sys
from collections import Counter

from tests.simulation.bounds import LIMITS
from tests.simulation.plan import plan
from tests.simulation.world import World


def run_world(seed: int) -> tuple[int, list[str], set[str]]:
    """What is wrong with the world of a seed, and which limits bound in it."""
    world = World(plan(seed))
    try:
        flaws = world.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed must be known
        flaws = [f"the core tripped over itself: {error!r}"]
    return seed, flaws, world.bound


def main() -> int:
    """Run the worlds that the command line asks for."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many worlds")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    wanted = parser.parse_args()
    seeds = range(wanted.first, wanted.first + wanted.seeds)
    failed = done = 0
    bound: Counter[str] = Counter()
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for seed, flaws, limits in pool.imap_unordered(run_world, seeds, chunksize=10):
            done += 1
            bound.update(limits)
            if flaws:
                failed += 1
                print(f"seed {seed}:", *flaws[:5], sep="\n    ", flush=True)  # noqa: T201
            if sys.stderr.isatty():
                print(f"\r{done}/{len(seeds)}", end="", file=sys.stderr)  # noqa: T201
    print(f"{done} worlds, {failed} failed")  # noqa: T201
    print("\nlimit bound in so many worlds")  # noqa: T201
    for limit in LIMITS:
        print(f"    {limit:40} {bound[limit]:6} ({bound[limit] / done:.0%})")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
