"""The commands that integrators live with: from a starter file to mapped events, without Kafka."""

import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.mapping import profiles, starters

UPLOAD = {
    "notification_type": "upload",
    "asset_id": "b5e6",
    "public_id": "packshots/ab12",
    "asset_folder": "packshots/2026",
    "display_name": "AB 12",
    "tags": ["Hero", "New In"],
    "metadata": {"colours": ["Multi"]},
}
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a folder with a Cloudinary mapping in sources.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sources.yaml").write_bytes(starters.content("cloudinary"))
    (tmp_path / "event.json").write_text(json.dumps(UPLOAD))

    def invoke(*words: str, given: str | None = None) -> Result:
        result = CliRunner().invoke(main, words, input=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return result

    return invoke


def edit(old: str, new: str) -> None:
    """Change the sources file in the current folder."""
    path = Path("sources.yaml")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_first_mapping_works_at_once(run: Run) -> None:
    """A starter file is written, its tests pass, and it maps an event."""
    assert run("mapping", "new", "bynder", "bynder.yaml").exit_code == 0
    tested = run("mapping", "test", "bynder.yaml")
    assert (tested.exit_code, "3 tests of bynder.yaml: all passed." in tested.output) == (0, True)
    mapped = run("convert", "event.json", "--source", "cloudinary")
    assert mapped.exit_code == 0
    assert json.loads(mapped.output)["code"] == "b5e6"


# --- mapping new, show -------------------------------------------------------------------------


@pytest.mark.parametrize("profile", profiles.names())
def test_profiles_and_starter_files_are_printed(run: Run, profile: str) -> None:
    assert run("mapping", "new", profile).output.encode() == starters.content(profile)
    assert run("mapping", "show", profile).output.encode() == profiles.content(profile)


def test_a_file_is_never_overwritten(run: Run) -> None:
    before = Path("sources.yaml").read_bytes()
    refused = run("mapping", "new", "s3", "sources.yaml")

    assert (refused.exit_code, "exists already" in refused.output) == (1, True)
    assert Path("sources.yaml").read_bytes() == before
    assert "cannot be written: No such file" in run("mapping", "new", "s3", "gone/a.yaml").output


# --- mapping test ------------------------------------------------------------------------------


def test_a_failing_test_is_shown_with_the_line_that_made_it(run: Run) -> None:
    edit("[hero, new_in]", "[hero]")
    failed = run("mapping", "test")

    assert failed.exit_code == 1
    assert "failed  cloudinary: an upload  (sources.yaml:53:9)" in failed.output
    assert "change 1, tags  made by sources.yaml line 29" in failed.output
    assert 'expected  ["hero"]' in failed.output
    assert 'found     ["hero","new_in"]' in failed.output
    assert "1 of 2 tests of sources.yaml failed." in failed.output


def test_faults_of_the_file_are_all_shown(run: Run) -> None:
    edit("asset_folder", "'asset_folder['")
    edit("slug", "slugg")
    wrong = run("mapping", "test")

    assert wrong.exit_code == 2
    assert "sources.yaml:24:20: " in wrong.output
    assert "sources.yaml:29:30: `as`: should be 'code', 'slug'" in wrong.output
    assert wrong.output.endswith("2 faults.\n")


def test_a_source_without_tests_is_a_warning(run: Run) -> None:
    text = Path("sources.yaml").read_text().partition("    tests:")[0]
    Path("sources.yaml").write_text(text)

    assert "warning Source cloudinary has no tests." in run("mapping", "test").output


def test_the_file_of_the_settings_is_the_default(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nope.yaml cannot be read: No such file" in run("mapping", "test", "nope.yaml").output
    monkeypatch.setenv("ASSET_SYNC_SOURCES_FILE", "other.yaml")
    assert "other.yaml cannot be read: No such file" in run("mapping", "test").output
    monkeypatch.setenv("ASSET_SYNC_SOURCESFILE", "other.yaml")
    assert run("mapping", "test").exit_code == 2


# --- mapping explain ---------------------------------------------------------------------------


def cells(output: str) -> dict[str, list[str]]:
    """Return the rows of the table by the value that they are about."""
    rows = (line.split("  ") for line in output.splitlines() if "sources.yaml line" in line)
    return {row[0].strip(): [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}


@pytest.mark.parametrize("words", [["event.json"], ["sources.yaml", "event.json"], ["-"]])
def test_an_event_is_explained(run: Run, words: list[str]) -> None:
    """Its source and rule; and for each value line, path, what was found, steps, what is sent."""
    explained = run("mapping", "explain", *words, given=json.dumps(UPLOAD))

    assert explained.exit_code == 0
    assert "cloudinary, rule uploaded: upsert packshots/b5e6" in explained.output
    rows = cells(explained.output)
    assert rows["tags"] == [
        "sources.yaml line 29", "tags", '["Hero","New In"]', 'as → ["hero","new_in"]',
        '["hero","new_in"]',
    ]  # fmt: skip
    assert rows["label"][-1] == '[{"locale":"en_US","data":"AB 12"}]'
    assert rows["uploaded_on"] == ["sources.yaml line 30", "created_at", "absent", "absent"]


def test_the_first_webhook_is_explained_as_its_page_says(run: Run) -> None:
    """docs/webhooks.md: a file, a sample, and what becomes of it. Its rule has no name."""
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    (file,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (sample,) = re.findall(r"echo '(.*)' > sample.json", page)
    Path("sources.yaml").write_text(textwrap.dedent("   " + file.lstrip()))
    explained = run("mapping", "explain", "sources.yaml", "-", given=sample)

    assert "contentful, rule 1: upsert ambient/a1" in explained.output
    assert explained.output.splitlines()[0] in page


def test_a_rejected_event_is_explained_up_to_where_it_ended(run: Run) -> None:
    teal = json.dumps(UPLOAD | {"metadata": {"colours": "Teal"}})
    explained = run("mapping", "explain", "-", given=teal)

    assert explained.exit_code == 1
    assert "rejected unmappable" in explained.output
    assert "main_colors: 'Teal' is not in its table (sources.yaml line 28" in explained.output
    assert cells(explained.output)["main_colors"][-1] == '"Teal"'


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        ({"notification_type": "rename"},
         ['rule uploaded: notification_type is "rename", wanted: "upload"',
          'rule deleted: notification_type is "rename", wanted: "delete"']),
        ({}, ['rule uploaded: notification_type is absent, wanted: "upload"']),
    ],
)  # fmt: skip
def test_an_event_that_nobody_takes_says_why(
    run: Run, event: dict[str, str], lines: list[str]
) -> None:
    """Each condition, with what it found and what it wants."""
    explained = run("mapping", "explain", "-", given=json.dumps(event))

    assert "No source takes this event:" in explained.output
    assert "cloudinary: skipped not_selected" in explained.output
    for line in lines:
        assert f"  {line}\n" in explained.output


def test_a_condition_shows_its_numbers_as_the_file_has_them(run: Run) -> None:
    edit("notification_type: upload", "width: [1.50, 1e400], height: {not: null}")
    explained = run("mapping", "explain", "-", given="{}")

    assert "  rule uploaded: width is absent, wanted: [1.50,1e400]\n" in explained.output


def test_the_conditions_of_an_item_say_why_too(run: Run) -> None:
    """With `for_each` at the source, the paths start from the item."""
    Path("s3.yaml").write_bytes(starters.content("s3"))
    item = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "x"}, "object": {"key": "a"}},
    }
    explained = run("mapping", "explain", "s3.yaml", "-", given=json.dumps({"Records": [item]}))

    assert '  only: s3.bucket.name is "x", wanted: "dam-masters"\n' in explained.output
    assert (
        '  rule removed: eventName is "ObjectCreated:Put", wanted: {"prefix":[' in explained.output
    )


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ([], "bynder, rule changed: fetch https://acme.bynder.com/api/v4/media/A-1/?versions=1"),
        (["--fetched", "not_found"], "skipped not_found"),
        (["--fetched", "media.json"], "upsert packshots/A_1"),
        (["--source", "nope"], "The file has no source nope. It has bynder."),
        (["--fetched", "nope.json"], "nope.json cannot be read"),
        (["--fetched", "event.json", "--header", "x"], "is not of the form NAME=VALUE"),
        (["extra"], "Give at most FILE and EVENT."),
    ],
)
def test_what_is_read_back_can_be_given(run: Run, words: list[str], output: str) -> None:
    Path("bynder.yaml").write_bytes(starters.content("bynder"))
    Path("media.json").write_text('{"property_pim_family": "packshots"}')
    event = {"Subject": "asset_bank.media.upload", "Message": '{"media_id": "A-1"}'}
    Path("thin.json").write_text(json.dumps(event))

    assert output in run("mapping", "explain", "bynder.yaml", "thin.json", *words).output


def test_keys_and_headers_can_be_given(run: Run) -> None:
    edit("family: {path: asset_folder, part: top,", "family: {path: $record.headers.f,")
    edit("code: asset_id ", "code: $key.id ")
    explained = run(
        "mapping", "explain", "event.json", "--key", '{"id": "k1"}', "--header", "f=ambient"
    )

    assert "upsert ambient/k1" in explained.output


def test_arguments_that_are_not_utf_8_are_the_bytes_that_were_typed(run: Run) -> None:
    """A record may have any: the command shows what the service would make of them."""
    words = (
        "mapping",
        "explain",
        "event.json",
        "--key",
        '{"id": "\udcff"}',
        "--header",
        "f=\udcff",
    )
    explained = run(*words)

    assert explained.exit_code == 0
    assert "b5e6" in explained.output


@pytest.mark.parametrize("command", ["explain", "paths"])
def test_a_byte_order_mark_is_the_files_not_the_events(run: Run, command: str) -> None:
    event = Path("event.json")
    plain = run("mapping", command, "event.json")
    event.write_bytes(b"\xef\xbb\xbf" + event.read_bytes())

    assert run("mapping", command, "event.json").output == plain.output
    assert plain.exit_code == 0


# --- mapping paths -----------------------------------------------------------------------------


def test_every_path_of_an_event_is_listed_ready_to_paste(run: Run) -> None:
    event = {"a": {"b c": [1.50, {"d": None}], "dc:title": "x"}, "it's": [], "e": {}, "f": "y\n"}
    listed = run("mapping", "paths", "-", given=json.dumps(event))

    assert [tuple(re.split(" {2,}", line)) for line in listed.output.splitlines()] == [
        ("'a.\"b c\"[0]'", "1.5"),
        ("'a.\"b c\"[1].d'", "null"),
        ("'a.\"dc:title\"'", '"x"'),
        ("'\"it''s\"'", "[]"),
        ("e", "{}"),
        ("f", '"y\\n"'),
    ]


def test_a_name_cannot_command_the_terminal(run: Run) -> None:
    """Its escape is one that a path understands; a name in another script stays readable."""
    listed = run("mapping", "paths", "-", given=json.dumps({"\x9b2J": 1, "größe": 2}))

    assert listed.output.splitlines() == ["'\"\\u009b2J\"'  1", "'\"größe\"'     2"]


def test_a_text_that_holds_json_is_looked_into(run: Run) -> None:
    """Amazon SNS sends events so; `parse` makes an object of it."""
    event = {"Message": '{"media_id": "A-1", "note": "[1]"}', "Note": "[draft]"}
    listed = run("mapping", "paths", "-", given=json.dumps(event))

    assert 'Message.media_id  "A-1"' in listed.stdout
    assert "Message.note[0]" not in listed.stdout
    assert listed.stderr == "Message is JSON as text: its paths need `parse: [Message]`.\n"


def test_a_text_that_holds_json_is_named_as_the_file_needs_it(run: Run) -> None:
    event = {"sns:Message": '{"media_id": "A-1"}'}
    listed = run("mapping", "paths", "-", given=json.dumps(event))
    parse = listed.stderr.partition("`parse: ")[2].rpartition("`")[0]
    Path("parsing.yaml").write_text(
        f"version: 1\nsources: {{all: {{topics: [t], parse: {parse}, family: {{const: f}}, "
        "code: '\"sns:Message\".media_id', rules: [{do: delete}]}}"
    )
    Path("parsed.json").write_text(json.dumps(event))
    mapped = run("convert", "parsed.json", "--source", "all", "--sources-file", "parsing.yaml")

    assert json.loads(mapped.output)["code"] == "A-1"


@pytest.mark.parametrize("value", ["{}", "{{path: {}}}"])
def test_the_listed_paths_are_paths_of_the_file(run: Run, value: str) -> None:
    """What is pasted finds the value, in a map on one line too."""
    event = {
        "a": {"b c": [1.5, {"dc:title": "found"}], "it's": "this"},
        "null": "a word of YAML",
        "list": ["of texts"],
    }
    listed = run("mapping", "paths", "-", given=json.dumps(event)).output.splitlines()
    paths = [re.split(" {2,}", line)[0] for line in listed]
    values = [f"      v{i}: {value.format(path)}" for i, path in enumerate(paths)]
    Path("all.yaml").write_text(
        "version: 1\nsources:\n  all:\n    topics: [t]\n    family: {const: f}\n"
        "    code: {const: c}\n    rules: [{do: upsert}]\n    values:\n" + "\n".join(values)
    )
    Path("all.json").write_text(json.dumps(event))
    mapped = json.loads(
        run("convert", "all.json", "--source", "all", "--sources-file", "all.yaml").output
    )

    assert [entry["data"] for [entry] in mapped["values"].values()] == [
        "1.5",
        "found",
        "this",
        "a word of YAML",
        "of texts",
    ]


def test_what_is_no_json_has_no_paths(run: Run) -> None:
    refused = run("mapping", "paths", "-", given="[}")

    assert (refused.exit_code, "is not valid JSON" in refused.output) == (1, True)


# --- convert -----------------------------------------------------------------------------------


def converted(run: Run, *events: object, words: tuple[str, ...] = ()) -> tuple[int, list[object]]:
    """Return the exit code and the printed objects."""
    given = "\n".join(json.dumps(event) if event else "no JSON" for event in events)
    ended = run("convert", "-", "--source", "cloudinary", *words, given=given)
    return ended.exit_code, [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("characters", [1024**2, 17 * 1024**2])
def test_an_event_that_is_too_large_is_not_mapped(run: Run, characters: int) -> None:
    """`translate` rejects it, however small its change is."""
    code, [found] = converted(run, {**UPLOAD, "context": "x" * characters})

    assert isinstance(found, dict)
    assert (code, found["reason"]) == (1, "too_large")


def test_commands_have_values_as_the_pim_takes_them(run: Run) -> None:
    """Whatever form they stand in: text, with one entry for each locale and channel."""
    event = '{"action": "upsert", "asset_family": "f", "code": "c", "values": '
    shown = run("convert", "-", given=event + '{"a": "x", "n": 1.50, "e": null}}')

    values = {name: [data] for name, [data] in json.loads(shown.output)["values"].items()}
    entry = {"locale": None, "channel": None}
    assert values == {
        "a": [entry | {"data": "x"}],
        "n": [entry | {"data": "1.50"}],
        "e": [entry | {"data": None}],
    }


def test_events_become_commands(run: Run) -> None:
    """As without --source; several for an event that names several assets."""
    delete = {
        "notification_type": "delete",
        "resources": [
            {"asset_id": "a", "asset_folder": "ambient"},
            {"asset_id": "b", "asset_folder": "logos"},
        ],
    }
    code, (upsert, first, second) = converted(run, UPLOAD | {"tags": []}, delete)

    assert code == 0
    assert isinstance(upsert, dict)
    assert upsert["values"]["tags"] == [{"data": None, "locale": None, "channel": None}]
    assert first == {
        "line": 2, "part": 0, "action": "delete", "asset_family": "ambient", "code": "a",
        "rule": "deleted",
    }  # fmt: skip
    assert isinstance(second, dict)
    assert (second["part"], second["status"], second["reason"]) == (1, "skipped", "no_family")


def test_a_rejected_event_gives_exit_code_1(run: Run) -> None:
    code, (rejected,) = converted(run, None)

    assert code == 1
    assert isinstance(rejected, dict)
    assert (rejected["line"], rejected["reason"]) == (1, "undecodable")


def test_assets_that_two_identities_share_are_listed(run: Run) -> None:
    """Codes that differ only in case are one asset to a PIM that folds them."""
    events = [UPLOAD, UPLOAD | {"asset_id": "B5E6"}, UPLOAD, UPLOAD | {"asset_id": "c"}]

    assert converted(run, *events, words=("--collisions",)) == (
        1,
        [{"assets": ["packshots/b5e6", "packshots/B5E6"], "identities": {"b5e6": 1, "B5E6": 2}}],
    )
    assert converted(run, UPLOAD, UPLOAD, words=("--collisions",)) == (0, [])
    edit("code: asset_id ", "code: {path: display_name, replace: {' ': '', '-': ''}} ")
    dashed = UPLOAD | {"display_name": "AB-12"}
    assert converted(run, UPLOAD, dashed, words=("--collisions",)) == (
        1,
        [{"assets": ["packshots/AB12"], "identities": {"AB 12": 1, "AB-12": 2}}],
    )


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["--collisions"], "--collisions and --sources-file need --source."),
        (["--source", "nope"], "The file has no source nope. It has cloudinary."),
        (["--source", "a", "--sources-file", "nope.yaml"], "nope.yaml cannot be read"),
    ],
)
def test_wrong_use_of_convert(run: Run, words: list[str], output: str) -> None:
    refused = run("convert", "event.json", *words)

    assert (refused.exit_code, output in refused.output) == (2, True)


# --- schema ------------------------------------------------------------------------------------


def test_the_schema_is_printed_for_editors(run: Run) -> None:
    schema = json.loads(run("schema", "sources").output)

    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("command", ["test", "explain", "paths", "show", "new"])
def test_every_command_has_help(run: Run, command: str) -> None:
    assert len(run("mapping", command, "--help").output.splitlines()) > 5
