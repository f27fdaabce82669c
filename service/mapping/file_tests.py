"""Runs the tests that stand in a sources file (docs/sources.md)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from service.mapping.expected import Mismatch, mismatches
from service.mapping.explain import explain, parts_of
from service.mapping.file.expectation import NOT_FOUND, FileTest
from service.mapping.file.load import Loaded
from service.mapping.json_values import decode
from service.mapping.results import Fetched, NotFound, RawRecord
from service.mapping.samples import json_of, record_of, value_of


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file beside the sources file cannot be read; the message says why."""

    message: str


ReadFile = Callable[[str], bytes | UnreadableFile]
"""Returns the content of a file, whose path is relative to the folder of the sources file."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a result is not as expected; what was expected and found are one line each.

    Attributes:
        about: What differs, such as "change 1, label".
        expected: What the test says.
        found: What the mapping made.
        made_by: The line of the file that made it, such as "sources.yaml line 58"; or None.
    """

    about: str
    expected: str
    found: str
    made_by: str | None = None


@dataclass(frozen=True, slots=True)
class FileTestResult:
    """The result of one test. It passed if there are no differences.

    `place` is the test's own, as FILE:LINE:COLUMN.
    """

    source: str
    name: str
    place: str
    differences: tuple[Difference, ...]


def run_file_tests(loaded: Loaded, read_file: ReadFile) -> Iterator[FileTestResult]:
    """Yield the result of every test, in the order of the file."""
    for name, source in loaded.model.sources.items():
        for index, test in enumerate(source.tests):
            place = loaded.merged.shown_place(("sources", name, "tests", index))
            differences = tuple(run_file_test(loaded, name, test, read_file))
            yield FileTestResult(name, test.name, place, differences)


def run_file_test(
    loaded: Loaded, source: str, test: FileTest, read_file: ReadFile
) -> Iterator[Difference]:
    """Yield every difference between what the test expects and what the source makes."""
    value = value_of(test.record)
    if test.record.value_file is not None:
        content = read_file(test.record.value_file)
        if isinstance(content, UnreadableFile):
            yield Difference("value_file", "a file that can be read", content.message)
            return
        value = content
    record = record_of(test.record, loaded.model.sources[source].topics[0], value)
    found = parts_of(loaded.sources[source], record, _answer(test))
    bases = {name: host.base for name, host in loaded.model.hosts.items()}
    for mismatch in mismatches(test.expect, found, bases):
        made_by = _made_by(loaded, source, record, _answer(test), mismatch)
        yield Difference(_about(mismatch), mismatch.expected, mismatch.found, made_by)


def _answer(test: FileTest) -> Fetched | None:
    """Return what the DAM would answer; None if the test does not say."""
    if test.fetched is None:
        return None
    if test.fetched == NOT_FOUND:
        return NotFound()
    answer = decode(json_of(test.fetched), "The answer")
    assert isinstance(answer, dict)  # the model takes nothing else
    return answer


def _about(mismatch: Mismatch) -> str:
    if mismatch.index is None:
        return "number of changes"
    change = f"change {mismatch.index + 1}"
    return change if mismatch.label is None else f"{change}, {mismatch.label}"


def _made_by(
    loaded: Loaded, source: str, record: RawRecord, answer: Fetched | None, mismatch: Mismatch
) -> str | None:
    """Map the record again with a trace, and return the line that made what differs."""
    if mismatch.index is None:
        return None
    explained = list(explain(loaded, source, record, answer))[mismatch.index]
    labels = {mismatch.label} if mismatch.label else {"code", "family"}
    lines = [row.where for row in explained.rows if row.label in labels]
    return lines[-1] if lines else None
