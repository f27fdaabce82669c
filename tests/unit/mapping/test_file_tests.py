"""The tests in a sources file: every payload of ten DAMs, and what a failing test shows."""

import json
from pathlib import Path

import pytest

from service.mapping import profiles, starters
from service.mapping.file.expectation import FileTest
from service.mapping.file.load import Loaded, load
from service.mapping.file_tests import (
    Difference,
    UnreadableFile,
    run_file_test,
    run_file_tests,
)

FOLDER = Path(__file__).parents[2] / "support" / "sources"
EXAMPLE = FOLDER / "example.yaml"
CASES = [
    (case["source"], json.dumps(test))
    for path in sorted((FOLDER / "cases").glob("*.json"))
    for case in [json.loads(path.read_text())]
    for test in case["tests"]
]


def no_file(name: str) -> bytes | UnreadableFile:
    """Stand for a folder without files."""
    return UnreadableFile(f"{name} cannot be read: No such file or directory.")


def loaded(content: str) -> Loaded:
    """Return a file without fault."""
    found = load(content.encode(), "sources.yaml")
    assert isinstance(found, Loaded), "\n".join(map(str, found))
    return found


@pytest.fixture(scope="module")
def example() -> Loaded:
    return loaded(EXAMPLE.read_text())


def test_the_tests_of_the_example_pass(example: Loaded) -> None:
    results = list(run_file_tests(example, no_file))

    assert len(results) == 4
    assert [result for result in results if result.differences] == []


@pytest.mark.parametrize(("source", "test"), CASES)
def test_a_payload_becomes_what_the_contract_says(example: Loaded, source: str, test: str) -> None:
    """Each is what a DAM really sends; the mapping is that of the example."""
    case = FileTest.model_validate_json(test)

    assert list(run_file_test(example, source, case, no_file)) == []


def test_all_payloads_are_there() -> None:
    assert len(CASES) == 48


SOURCE = """\
version: 1
tables: {colours: {Red: red}}
hosts: {dam: {base: "https://dam.example"}}
sources:
  one:
    topics: [dam.one]
    family: {const: packshots}
    code: id
    for_each: assets
    values:
      label: {path: title, locale: en_US}
      size: size
      colour: {path: colour, table: colours}
    context: {etag: etag}
    rules:
      - {name: gone, when: {gone: true}, do: delete}
      - {do: upsert}
    tests:
"""
RECORD = "{value: {assets: [{id: a, title: A 1, size: 1.50}, {id: b, gone: true}]}}"


def differences(test: str) -> list[Difference]:
    """Return the differences of a test of the source above; it begins in line 19."""
    (result,) = run_file_tests(loaded(f"{SOURCE}      - {test}\n"), no_file)
    assert (result.source, result.place) == ("one", "sources.yaml:19:9")
    return list(result.differences)


def failing(record: str, *expected: str) -> list[Difference]:
    return differences(f"{{name: a, record: {record}, expect: [{', '.join(expected)}]}}")


@pytest.mark.parametrize(
    "upsert",
    [
        "{upsert: packshots/a}",
        "{upsert: packshots/a, values: {label: [{data: A 1, locale: en_US}], size: 1.50}}",
        "{upsert: packshots/a, values: {size: '1.50', label: [{locale: en_US, data: A 1}]}}",
    ],
)
def test_a_test_passes(upsert: str) -> None:
    """Order and spelling of values do not matter; a number is what it was written as."""
    assert failing(RECORD, upsert, "{delete: packshots/b}") == []


@pytest.mark.parametrize(
    ("expected", "difference"),
    [
        ("{upsert: packshots/b}",
         ("change 1", "upsert packshots/b", "upsert packshots/a", "line 8")),
        ("{delete: packshots/a}",
         ("change 1", "delete packshots/a", "upsert packshots/a", "line 8")),
        ("{skipped: no_family}",
         ("change 1", "skipped no_family", "upsert packshots/a", "line 8")),
        ("{upsert: packshots/a, values: {size: 1.5, label: [{data: A 1, locale: en_US}]}}",
         ("change 1, size", '"1.5"', '"1.50"', "line 12")),
        ("{upsert: packshots/a, values: {size: '1.50'}}",
         ("change 1, label", "nothing", '[{"locale":"en_US","data":"A 1"}]', "line 11")),
        ("{upsert: packshots/a, context: {etag: x}}",
         ("change 1, context", '{"etag":"x"}', "nothing", None)),
    ],
)  # fmt: skip
def test_a_difference_shows_expected_found_and_the_line_that_made_it(
    expected: str, difference: tuple[str, str, str, str | None]
) -> None:
    about, should, does, line = difference
    found = failing(RECORD, expected, "{delete: packshots/b}")[0]

    assert found == Difference(about, should, does, line and f"sources.yaml {line}")


def test_the_line_is_that_of_the_change_which_differs() -> None:
    """Earlier changes of the record were made by the same lines."""
    (found,) = failing(
        "{value: {assets: [{id: a, size: 1}, {id: b, size: 2}]}}",
        "{upsert: packshots/a}",
        "{upsert: packshots/b, values: {size: 3}}",
    )

    assert found == Difference("change 2, size", '"3"', '"2"', "sources.yaml line 12")


@pytest.mark.parametrize("expected", [["{upsert: packshots/a}"], ["{upsert: packshots/a}"] * 3])
def test_every_change_counts(expected: list[str]) -> None:
    """A test whose record makes more or fewer changes fails, also where they are skipped."""
    found = failing(RECORD, *expected)[0]

    assert found.about == "number of changes"
    assert found.found == "2 (upsert packshots/a, delete packshots/b)"


def test_a_message_is_expected_in_part() -> None:
    teal = "{value: {assets: [{id: a, colour: Teal}]}}"

    assert failing(teal, "{rejected: unmappable, message: is not in its table}") == []
    (found,) = failing(teal, "{rejected: unmappable, message: is too long}")
    assert "Teal" in found.found


def test_a_context_may_have_a_number_that_no_float_can_hold() -> None:
    record = "{value: {assets: [{id: a, etag: 1e400}]}}"

    assert failing(record, "{upsert: packshots/a, context: {etag: 1e400}}") == []
    assert failing(record, "{upsert: packshots/a, context: {etag: 1}}")[0].expected == '{"etag":1}'


def test_a_read_is_expected_by_its_url_or_answered() -> None:
    """With the host's base; `fetched` answers each read of the record."""
    thin = (
        SOURCE.replace("    for_each: assets\n", "    identity: id\n")
        .replace(
            "    tests:", "    fetch: {host: dam, url: '/assets/{id}', not_found: skip}\n    tests:"
        )
        .replace("code: id", "code: $event.id")
    )
    tests = """\
      - {name: a, record: {value: {id: a/b}}, expect: [{fetch: "https://dam.example/assets/a%2Fb"}]}
      - {name: b, record: {value: {id: a}}, fetched: not_found, expect: [{skipped: not_found}]}
      - name: c
        record: {value: {id: a}}
        fetched: {size: 2.0}
        expect: [{upsert: packshots/a, values: {size: 2.0}}]
"""
    for content in (thin, thin.replace("'/assets/{id}'", "'assets/{id}'")):
        results = list(run_file_tests(loaded(content + tests), no_file))

        assert len(results) == 3
        assert [result.differences for result in results] == [()] * 3


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("{}", "{skipped: not_selected}"),
        ("{value: null}", "{skipped: not_selected}"),
        ("{value: 'no JSON'}", "{rejected: undecodable}"),
        ('{value: \'{"assets": [{"id": "a"}]}\'}', "{upsert: packshots/a}"),
    ],
)
def test_a_value_is_a_tombstone_a_text_or_json(record: str, expected: str) -> None:
    assert failing(record, expected) == []


def test_a_value_may_stand_in_a_file() -> None:
    """It is read beside the sources file; one that cannot be read fails the test."""
    test = "{name: a, record: {value_file: a.json}, expect: [{upsert: packshots/a}]}"
    file = loaded(f"{SOURCE}      - {test}\n")

    (result,) = run_file_tests(file, lambda _: b'{"assets": [{"id": "a"}]}')
    assert result.differences == ()
    (found,) = differences(test)
    assert found.about == "value_file"
    assert "a.json cannot be read" in found.found


@pytest.mark.parametrize("profile", profiles.names())
def test_a_starter_file_has_tests_that_pass(profile: str) -> None:
    """Who begins with it begins with something that works."""
    file = loaded(starters.content(profile).decode())
    (source,) = file.model.sources.values()

    assert source.profile == profile
    assert len(source.tests) > 1
    assert [r.differences for r in run_file_tests(file, no_file) if r.differences] == []
