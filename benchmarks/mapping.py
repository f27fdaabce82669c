"""What mapping an event costs: `python -m benchmarks.mapping [SOURCE …]`.

The sources are those of the example file and the events those of its cases, so they are real ones.
A line is one event: decoded, mapped, and with the DAM's answer where it is read back. CPU time
counts, the best of some rounds, because other programs use the machine too.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from benchmarks.raw_events import FOLDER, all_tests, raw_event
from service.mapping.file.load import Loaded, load
from service.mapping.json_values import decode_fetched
from service.mapping.results import MappedSource, RawRecord, Read

ROUNDS = 15
ROUND_SECONDS = 0.02


def main() -> int:
    """Print a line for each event of the sources that are named, or of all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mapping", description=__doc__)
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="by its name in the example")
    wanted = parser.parse_args().sources
    loaded = load((FOLDER / "example.yaml").read_bytes(), "example.yaml")
    assert isinstance(loaded, Loaded), "the example has a fault"
    table = Table("source", "event", "bytes", "µs CPU")
    for name, test in all_tests():
        if not wanted or name in wanted:
            key, value, headers, _ = raw_event(test["record"])
            record = RawRecord("dam.bench", 0, 0, key, value, headers)
            cost = _microseconds(_work(loaded.sources[name], record, test.get("fetched")))
            table.add_row(name, test["name"], f"{len(record.value or b'')}", f"{cost:.1f}")
    Console().print(table)
    return 0


def _work(source: MappedSource, record: RawRecord, answer: object) -> Callable[[], object]:
    """Return what is measured: the mapping of the record, or of the DAM's answer to it."""
    (first, *_) = source.map(record).parts
    if answer is None or not isinstance(first, Read):
        return lambda: source.map(record)
    body = json.dumps(answer).encode()

    def resume() -> object:
        fetched = decode_fetched(body)
        assert fetched is not None
        return first.resume(fetched)

    return resume


def _microseconds(work: Callable[[], object]) -> float:
    """Return the CPU time of one run, of the best round."""
    best = float("inf")
    for _ in range(ROUNDS):
        runs = 0
        began = time.process_time()
        while (spent := time.process_time() - began) < ROUND_SECONDS:
            for _ in range(50):
                work()
            runs += 50
        best = min(best, spent / runs)
    return best * 1e6


if __name__ == "__main__":
    sys.exit(main())
