"""A copy of the project with one bug in it, and the tests that are to find it."""

import contextlib
import functools
import importlib
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeGuard

import grimp
import pytest

from tests.mutants.patch import Mutant

ROOT = Path(__file__).resolve().parent.parent.parent
FORK = multiprocessing.get_context("fork")
LIBRARIES = (
    *("aiohttp.web", "aiokafka", "cloudevents", "faststream.kafka", "hypothesis.stateful"),
    *("jsonschema", "pydantic_settings", "prometheus_client", "rich.console", "structlog"),
)
"""Imported once, before any fork: that is most of a short test's time."""
MEMORY_BYTES_MAX = 4 * 1024**3
"""A bug may build an endless list."""
SECONDS_MAX = 1200.0
"""A bug may also wait for ever, outside of any test."""

FAST = (
    ("tests/unit/core", "tests/unit/runtime", "tests/unit/adapters"),
    ("tests/contract",),
    ("tests/property",),
    ("tests/simulation",),
    ("tests/unit",),
)
"""The tests without a broker, the quick and telling ones first."""
OF_CORE = tuple(
    f"tests/integration/test_{name}.py" for name in ("main_job", "group", "pim_edge", "operate")
)
OF_KAFKA = ("tests/contract", "tests/integration")
"""The tests on a broker that see a bug in the core or the runner, and in the adapter of Kafka."""
BROKER_WORKERS = 6
HANG, SILENT_END = "(the tests hang)", "(the tests end without a word)"
WITHOUT_A_TEST = (HANG, SILENT_END)
"""Ends that no test reported: a mutant may cause them, and so may a broken environment."""
NO_BROKER = "not kafka and not processes and not containers and not browser and not chart"


for _name in LIBRARIES:
    importlib.import_module(_name)


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
        """The first test that fails; None where all pass.

        In a process that is forked: the libraries are imported already, the service is not.
        """
        words = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--tb=no"]
        words += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what is imported already
        receiving, sending = FORK.Pipe(duplex=False)
        child = FORK.Process(
            target=_run_tests, args=(self._folder, [*words, *options, *tests], sending)
        )
        child.start()
        sending.close()
        try:
            if not receiving.poll(SECONDS_MAX):
                return HANG
            code, failed = receiving.recv()
        except EOFError:
            return SILENT_END
        finally:
            child.kill()
            child.join()
            receiving.close()
        if code in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            return None
        if code == pytest.ExitCode.USAGE_ERROR:
            raise RuntimeError(f"pytest cannot run {' '.join([*options, *tests])}.")
        return failed or f"(pytest ends with {code})"


class _FirstFailure:
    """A plugin that remembers the first test, or file, that failed."""

    def __init__(self) -> None:
        self.name: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at a part of a test."""
        if report.failed:
            self.name = self.name or report.nodeid.partition("[")[0]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Look at a file."""
        if report.failed:
            self.name = self.name or report.nodeid


def _run_tests(folder: Path, words: list[str], sending: Connection) -> None:
    """Run the tests of a copy, in this process, and send how it ended."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(silence, stream)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.path.insert(0, str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] in {"service", "tests"}]:
        del sys.modules[name]
    seen = _FirstFailure()
    code: int = pytest.ExitCode.INTERNAL_ERROR
    with contextlib.suppress(Exception):  # pytest raises for what a failed test left open
        code = pytest.main(words, plugins=[seen])
    sending.send((int(code), seen.name))


def files_of(stage: int, path: str) -> list[str]:
    """The test files of a stage that can see a bug in a file: those that import it."""
    earlier = tuple(f"{folder}/" for folders in FAST[:stage] for folder in folders)
    folders = tuple(f"{folder}/" for folder in FAST[stage])
    return [
        name
        for name in _importers(path)
        if name.startswith(folders) and not name.startswith(earlier)
    ]


@functools.cache
def _importers(path: str) -> list[str]:
    """The test files that import a file, by themselves or through others."""
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    importers = _imports().find_downstream_modules(module)
    return sorted(
        f"{name.replace('.', '/')}.py"
        for name in importers
        if name.startswith("tests.") and name.rpartition(".")[2].startswith("test_")
    )


@functools.cache
def _imports() -> grimp.ImportGraph:
    return grimp.build_graph("service", "tests", cache_dir=None)


def without_broker(copy: Copy, files: Sequence[str], likely: str | None = None) -> str | None:
    """The first test of these files that fails; `likely` is tried before them."""
    options = ("-n0", "-m", NO_BROKER, "--timeout=120")
    if _exists(likely) and (failed := copy.first_failure([likely], *options)) is not None:
        return failed
    return copy.first_failure(files, *options) if files else None


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
    path, name = test.partition("::")[0], test.rpartition("::")[2]
    return (ROOT / path).is_file() and name in (ROOT / path).read_text()
