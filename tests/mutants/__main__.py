"""`make mutants`: put in each small bug by itself, and say which test found it.

Exit code 1: a bug on the list was found by no test, or one that survived has no explanation.
"""

import argparse
import contextlib
import hashlib
import os
import queue
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from service.playground.embedded_kafka import embedded_kafka
from tests.mutants.generated import generated
from tests.mutants.patch import Mutant, located, sources
from tests.mutants.results import Result, Results
from tests.mutants.survivors import SURVIVORS
from tests.mutants.table import is_satisfied, read_table, summary, write_table
from tests.mutants.trial import (
    FAST,
    ROOT,
    WITHOUT_A_TEST,
    Copy,
    files_of,
    with_broker,
    without_broker,
)
from tests.mutants.written import WRITTEN

RESULTS = ROOT / ".cache" / "mutants.json"
TABLE = ROOT / "docs" / "mutants.md"


def main() -> int:
    """Run as the command line asks."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    parser.add_argument("--no-broker", action="store_true", help="only tests without a broker")
    parser.add_argument(
        "--quick", action="store_true", help="only the test that found each mutant before"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants at once")
    wanted = parser.parse_args()
    files = sources(ROOT)
    mutants = [*_written(files), *generated(files)]
    chosen = [mutant for mutant in mutants if wanted.only in mutant.name]
    hints = read_table(TABLE.read_text()) if TABLE.exists() else {}
    results = Results(RESULTS, _digest_of_tests(files), hints)
    _say(f"{len(chosen)} mutants, {sum(results.is_known(mutant) for mutant in chosen)} known")
    try:
        if wanted.quick:
            _try_hints(chosen, results, wanted.jobs)
        else:
            _try_all(chosen, results, wanted.jobs, uses_broker=not wanted.no_broker)
    finally:
        if not wanted.only:
            write_table(TABLE, mutants, results)
    print(summary(chosen, results))  # noqa: T201 - the result
    return 0 if is_satisfied(chosen, results, SURVIVORS) else 1


def _written(files: dict[str, str]) -> list[Mutant]:
    """The list; ends with every entry whose old text is not found."""
    found: list[Mutant] = []
    lost: list[str] = []
    for written in WRITTEN:
        try:
            found.append(located(written, files))
        except ValueError as error:
            lost.append(str(error))
    if lost:
        sys.exit("\n".join([*lost, "Correct these entries in tests/mutants/written.py."]))
    return found


def _digest_of_tests(files: dict[str, str]) -> str:
    """Of everything that may change a result: the code and the tests."""
    digest = hashlib.sha256()
    tests = sorted(path for path in (ROOT / "tests").rglob("*.py") if path.parent.name != "mutants")
    for text in (*files.values(), *(path.read_text() for path in tests)):
        digest.update(text.encode())
    return digest.hexdigest()


def _try_hints(mutants: Sequence[Mutant], results: Results, jobs: int) -> None:
    """Try each mutant on the test without a broker that found it before, and on no other."""
    left = [mutant for mutant in mutants if not results.is_known(mutant)]
    hinted = [mutant for mutant in left if results.likely(mutant, has_broker=False)]
    no_files: dict[str, list[str]] = {mutant.name: [] for mutant in hinted}
    with contextlib.ExitStack() as stack:
        copies = [Copy(stack.enter_context(_folder())) for _ in range(jobs)]
        _try_stage(hinted, 0, no_files, copies, results)


def _try_all(mutants: Sequence[Mutant], results: Results, jobs: int, *, uses_broker: bool) -> None:
    """Without a broker several at once; the survivors one by one with it."""
    left = [mutant for mutant in mutants if not results.is_known(mutant)]
    with contextlib.ExitStack() as stack:
        copies = [Copy(stack.enter_context(_folder())) for _ in range(min(jobs, len(left) or 1))]
        _try_fast(left, copies, results)
        survivors = [mutant for mutant in mutants if results.wants_broker(mutant)]
        if survivors and uses_broker:
            broker = stack.enter_context(embedded_kafka())
            _try_with_broker(survivors, copies[0], broker.bootstrap_servers, results)


def _try_fast(left: list[Mutant], copies: Sequence[Copy], results: Results) -> None:
    """Every mutant on the quickest tests, what survives on the next, and so on."""
    for stage in range(len(FAST)):
        files = {mutant.name: files_of(stage, mutant.path) for mutant in left}
        _require_success(copies[0], sorted({name for names in files.values() for name in names}))
        found = _try_stage(left, stage, files, copies, results)
        left = [mutant for mutant in left if mutant.name not in found]
    for mutant in left:
        results.add(mutant, Result(None, has_broker=False))


def _require_success(copy: Copy, files: Sequence[str]) -> None:
    """Raise unless these tests pass without any mutant, or a failure proves nothing."""
    if (failed := without_broker(copy, files)) is not None:
        raise RuntimeError(f"The tests fail without any mutant: {failed}")


def _try_stage(
    mutants: Sequence[Mutant],
    stage: int,
    files: Mapping[str, Sequence[str]],
    copies: Sequence[Copy],
    results: Results,
) -> set[str]:
    """The names of those that a test of the stage found."""
    free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for copy in copies:
        free.put(copy)

    def attempt(mutant: Mutant) -> tuple[Mutant, str | None]:
        copy = free.get()
        try:
            likely = results.likely(mutant, has_broker=False) if stage == 0 else None
            with copy.having(mutant):
                found_by = without_broker(copy, files[mutant.name], likely)
            if found_by in WITHOUT_A_TEST:
                _require_success(copy, files[mutant.name] or [likely or "tests"])
            return mutant, found_by
        finally:
            free.put(copy)

    found: set[str] = set()
    with ThreadPoolExecutor(len(copies)) as pool:
        attempts = [pool.submit(attempt, mutant) for mutant in mutants]
        for number, attempted in enumerate(as_completed(attempts), 1):
            mutant, found_by = attempted.result()
            if found_by is not None:
                found.add(mutant.name)
                results.add(mutant, Result(found_by, has_broker=False))
            progress = f"stage {stage + 1}, {number}/{len(mutants)}"
            _say(f"{progress} {mutant.name}: {found_by or 'survived so far'}")
    return found


def _try_with_broker(
    mutants: Sequence[Mutant], copy: Copy, bootstrap: str, results: Results
) -> None:
    for number, mutant in enumerate(mutants, 1):
        with copy.having(mutant):
            likely = results.likely(mutant, has_broker=True)
            found_by = with_broker(copy, mutant, bootstrap, likely)
        results.add(mutant, Result(found_by, has_broker=True))
        _say(f"{number}/{len(mutants)} {mutant.name}, with a broker: {found_by or 'survived'}")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="asset-sync-mutants-") as name:
        yield Path(name)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress


if __name__ == "__main__":
    sys.exit(main())
