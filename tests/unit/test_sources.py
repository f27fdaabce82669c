"""The sources file of a program: what stops it from starting, and which secrets it needs."""

from pathlib import Path

import pytest

from service.apps.sources import (
    check_webhook_secrets,
    load_sources,
    reader_of,
    secrets_of_hosts,
    selected_sources,
)
from service.settings import Settings, SettingsError, load

EXAMPLE = Path(__file__).parents[1] / "support" / "sources" / "example.yaml"


def settings(file: Path | None, **more: str) -> Settings:
    """Return the settings of a program with this sources file."""
    given = {f"ASSET_SYNC_{name}": value for name, value in more.items()}
    if file is not None:
        given["ASSET_SYNC_SOURCES_FILE"] = str(file)
    return load(given, None, needs_pim=False).settings


def problem(file: Path | None, **more: str) -> list[str]:
    """Return the lines of the error."""
    with pytest.raises(SettingsError) as caught:
        load_sources(settings(file, **more))
    return str(caught.value).splitlines()


def test_a_program_starts_with_the_example() -> None:
    assert len(load_sources(settings(EXAMPLE)).sources) == 9


def test_a_program_does_not_start_without_a_file(tmp_path: Path) -> None:
    assert "ASSET_SYNC_SOURCES_FILE is required" in problem(None)[0]
    assert "No such file or directory" in problem(tmp_path / "sources.yaml")[0]
    assert "Is a directory" in problem(tmp_path)[0]


def test_a_program_does_not_start_with_a_faulty_file(tmp_path: Path) -> None:
    """Each fault has its line; what the settings know is checked too."""
    path = tmp_path / "sources.yaml"
    path.write_text(EXAMPLE.read_text().replace("part: top", "prt: top"))

    assert [line.split(": ")[1] for line in problem(path)] == [
        "Unknown key `prt`. Did you mean `part`?"
    ] * 3
    path.write_text(EXAMPLE.read_text().replace("dam.aem", "pim.asset-outcomes"))
    assert "ASSET_SYNC_KAFKA__OUTCOMES_TOPIC" in problem(path)[0]
    assert "Did you mean" not in problem(path, TRANSLATE__TOPIC="dam.s3")[0]
    path.write_text(EXAMPLE.read_text().replace("bynder_client_secret", "pim__password"))
    assert "The name pim__password is that of a setting" in problem(path)[0]
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    assert "too large: at most 1048576 bytes are read" in problem(path)[0]


def test_a_program_does_not_start_while_a_test_fails(tmp_path: Path) -> None:
    """The tests of the file hold it to what its author meant."""
    path = tmp_path / "sources.yaml"
    path.write_text(EXAMPLE.read_text().replace('"0.05"', '"0.06"'))

    (line,) = problem(path)
    assert "the test `a new packshot` fails: change 1, file_size_mb: expected" in line
    assert 'expected "0.06", found "0.05"' in line


def test_a_value_file_is_read_beside_the_sources_file(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(
        "version: 1\nsources:\n  a:\n    topics: [t]\n    rules: [{do: skip}]\n"
        "    tests: [{name: b, record: {value_file: b.json}, expect: [{skipped: not_selected}]}]\n"
    )

    assert "b.json cannot be read: No such file" in problem(path)[0]
    (tmp_path / "b.json").write_text("{}")
    assert load_sources(settings(path)).model.sources["a"].tests


def test_some_sources_can_be_selected() -> None:
    """To scale one by itself; a name that the file does not have is an error."""
    loaded = load_sources(settings(EXAMPLE))

    assert len(selected_sources(loaded, settings(EXAMPLE))) == 9
    assert selected_sources(loaded, settings(EXAMPLE, TRANSLATE__SOURCES="aem")) == ("aem",)
    with pytest.raises(SettingsError, match="the file has no source bem"):
        selected_sources(loaded, settings(EXAMPLE, TRANSLATE__SOURCES="aem,bem"))


def test_each_program_needs_only_its_own_secrets() -> None:
    """All that are missing are named at once."""
    file = load_sources(settings(EXAMPLE)).model

    assert secrets_of_hosts(file, ["masters", "aem"]) == ()
    assert secrets_of_hosts(file, file.sources) == (
        "bynder_client_id", "bynder_client_secret", "aprimo_client_id", "aprimo_client_secret",
    )  # fmt: skip
    given = {"ASSET_SYNC_SECRET__APRIMO_HMAC": "x"}
    with pytest.raises(SettingsError) as caught:
        check_webhook_secrets(file, load(given, None, needs_pim=False).secrets)
    assert [line.split()[2] for line in str(caught.value).splitlines()] == [
        "cloudinary_api_secret",
        "contentful_token",
    ]


def test_a_secret_that_verifies_nothing_is_refused() -> None:
    """Before the first webhook is answered with 503 because of it."""
    file = load_sources(settings(EXAMPLE)).model
    given = {"CLOUDINARY_API_SECRET": "x", "APRIMO_HMAC": "x", "CONTENTFUL_TOKEN": "a\nb"}
    variables = {f"ASSET_SYNC_SECRET__{name}": secret for name, secret in given.items()}
    with pytest.raises(SettingsError) as caught:
        check_webhook_secrets(file, load(variables, None, needs_pim=False).secrets)
    assert str(caught.value) == (
        "The secret contentful_token cannot be sent: it has several lines or other control "
        "characters."
    )


def test_a_secret_is_read_or_its_absence_is_an_error() -> None:
    read = reader_of(load({"ASSET_SYNC_SECRET__A": "x"}, None, needs_pim=False).secrets)

    assert read("a") == "x"
    with pytest.raises(SettingsError, match="The secret b is missing"):
        read("b")
