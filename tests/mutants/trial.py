"""A copy of the project with one bug in it, and the tests that are to find it."""

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeGuard

from tests.mutants.patch import Mutant

ROOT = Path(__file__).resolve().parent.parent.parent
FAILED = re.compile(r"^(?:FAILED|ERROR) ([^\s\[]+)", re.MULTILINE)
MEMORY_BYTES_MAX = 4 * 1024**3
"""A bug may build an endless list."""
SECONDS_MAX = 1200.0
"""A bug may also wait for ever, outside of any test."""

FAST = (
    ("tests/unit/core", "tests/unit/pipeline"),
    ("tests/property/test_coalesce.py", "tests/property/test_window.py"),
    ("tests/simulation",),
    ("tests/property",),
    ("tests/unit", "tests/contract"),
)
"""The tests without a broker, the quick and telling ones first."""
OF_CORE = tuple(
    f"tests/integration/test_{name}.py" for name in ("main_job", "group", "pim_edge", "operate")
)
OF_KAFKA = ("tests/contract", "tests/integration")
"""The tests on a broker that see a bug in the core or the runner, and in the adapter of Kafka."""
BROKER_WORKERS = 6
NO_BROKER = "not kafka and not processes and not containers and not browser and not chart"


class Copy:
    """A copy of the project's files in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)

    @contextlib.contextmanager
    def having(self, mutant: Mutant) -> Iterator[None]:
        """The copy with the bug in it; afterwards it is as it was."""
        path = self._folder / mutant.path
        stock = path.read_text()
        self._write(path, mutant.text)
        try:
            yield
        finally:
            self._write(path, stock)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text)
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()  # its source may have changed within one tick of the clock

    def first_failure(self, tests: Sequence[str], *options: str) -> str | None:
        """The first test that fails; None where all pass."""
        words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        words += ["--hypothesis-seed=0", "--tb=no", *options, *tests]
        try:
            done = subprocess.run(  # noqa: S603 - our own command
                words,
                cwd=self._folder,
                env=os.environ | {"PYTHONPATH": str(self._folder)},
                capture_output=True,
                timeout=SECONDS_MAX,
                check=False,
                preexec_fn=_bound_memory,
            )
        except subprocess.TimeoutExpired:
            return "(the tests hang)"
        said = done.stdout.decode(errors="replace")
        if done.returncode in {0, 5}:  # 5: no test was selected
            return None
        if done.returncode == 4:
            raise RuntimeError(f"pytest cannot run {' '.join(tests)}: {said}{done.stderr.decode()}")
        found = FAILED.search(said)
        return found.group(1) if found else f"(pytest ends with {done.returncode})"


def _bound_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))


def without_broker(copy: Copy, likely: str | None) -> str | None:
    """The first test without a broker that fails; `likely` is one that failed before."""
    options = ("-n0", "-m", NO_BROKER, "--timeout=120")
    if _exists(likely) and (failed := copy.first_failure([likely], *options)) is not None:
        return failed
    done: list[str] = []
    for tests in FAST:
        ignored = [f"--ignore={path}" for path in done]
        if (failed := copy.first_failure(tests, *options, *ignored)) is not None:
            return failed
        done += tests
    return None


def with_broker(copy: Copy, mutant: Mutant, bootstrap: str, likely: str | None) -> str | None:
    """The first test on a real broker that fails."""
    options = ("-m", "kafka and not containers", f"--kafka={bootstrap}", "--timeout=300")
    if _exists(likely) and (failed := copy.first_failure([likely], "-n0", *options)) is not None:
        return failed
    tests = OF_KAFKA if "kafka" in mutant.path else OF_CORE
    return copy.first_failure(tests, f"-n{BROKER_WORKERS}", "--dist=loadgroup", *options)


def _exists(test: str | None) -> TypeGuard[str]:
    if test is None:
        return False
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and name in (ROOT / path).read_text()
