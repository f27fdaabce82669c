"""`asset-sync init`: files that work as they are, once the gaps are filled in."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from service.cli import main
from service.cli.init import FILES
from service.settings import load

CHART = Path(__file__).resolve().parent.parent.parent / "deploy/helm/asset-sync"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that the command has filled."""
    result = CliRunner().invoke(main, ["init", str(tmp_path / "new" / "start")])
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in FILES)
    return tmp_path / "new" / "start"


def test_the_settings_are_complete_once_filled_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file names what is needed, and each of its lines is a setting, also a commented one."""
    monkeypatch.chdir(folder)
    assert CliRunner().invoke(main, ["check"]).exit_code == 2, "credentials are still missing"
    text = re.sub(r"(?m)^# (ASSET_SYNC_KAFKA)", r"\1", (folder / ".env").read_text())
    filled = re.sub(r"(?m)^(ASSET_SYNC_\w+)=$", r"\1=x", text)
    (folder / ".env").write_text(filled)
    settings = load({}, folder / ".env").settings
    assert settings.kafka.security_protocol == "SASL_SSL"
    assert settings.pim.base_url == "https://my-pim.cloud.akeneo.com"


def test_the_events_are_events(folder: Path) -> None:
    """Each becomes a command."""
    result = CliRunner().invoke(main, ["convert", str(folder / "events.jsonl")])
    assert result.exit_code == 0, result.output
    assert len((folder / "events.jsonl").read_text().splitlines()) == 3


def test_the_chart_takes_the_values(folder: Path) -> None:
    """And the Secret that they name is the one beside them, with keys that are settings."""
    values = yaml.safe_load((folder / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.validate(values, schema)
    secret = yaml.safe_load((folder / "secret.yaml").read_text())
    assert secret["metadata"]["name"] == values["secret"]["existingSecret"]
    variables = {f"ASSET_SYNC_{key.upper()}": "x" for key in secret["stringData"]}
    load({"ASSET_SYNC_PIM__BASE_URL": "https://pim.example", **variables}, None)


def test_nothing_is_overwritten(folder: Path) -> None:
    """One file that exists is enough; secrets are the owner's alone."""
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    (folder / "README.md").unlink()
    result = CliRunner().invoke(main, ["init", str(folder)])
    assert result.exit_code == 1
    assert ".env, events.jsonl, secret.yaml, values.yaml already" in result.output
    assert not (folder / "README.md").exists()


def test_where_one_is_already_one_need_not_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["init", "."])
    assert "Next: fill in .env" in result.output


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A sentence, not a traceback."""
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["init", str(tmp_path / "file" / "start")])
    assert result.exit_code == 1
    assert "cannot be written: Not a directory." in result.output
