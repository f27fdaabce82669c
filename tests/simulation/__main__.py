"""`make sim SEEDS=10000`: run worlds, say which failed and why; exit 1 where one did."""

import argparse
import multiprocessing
import os
import sys

from tests.simulation.plan import plan
from tests.simulation.world import World


def flaws_of(seed: int) -> tuple[int, list[str]]:
    """What is wrong with the world of a seed."""
    return seed, World(plan(seed)).run()


def main() -> int:
    """Run the worlds that the command line asks for."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many worlds")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    wanted = parser.parse_args()
    seeds = range(wanted.first, wanted.first + wanted.seeds)
    failed = done = 0
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for seed, flaws in pool.imap_unordered(flaws_of, seeds, chunksize=10):
            done += 1
            if flaws:
                failed += 1
                print(f"seed {seed}:", *flaws[:5], sep="\n    ")  # noqa: T201
            if sys.stderr.isatty():
                print(f"\r{done}/{len(seeds)}", end="", file=sys.stderr)  # noqa: T201
    print(f"{done} worlds, {failed} failed")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
