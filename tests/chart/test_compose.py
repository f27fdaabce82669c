"""The compose file: its parts are there, and what it sets are settings. Needs no engine."""

from pathlib import Path
from typing import Any

import pytest

from service.adapters.telemetry.catalogue import PREFIX as METRICS
from service.mapping.file.load import Loaded as SourcesFile
from service.mapping.file.load import load as load_sources_file
from service.mapping.pim_names import AttributeUse, uses_of
from service.playground.pim.structure import sample
from service.settings import load
from tests.support.strict_yaml import read

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"


def services() -> dict[str, dict[str, Any]]:
    """By name."""
    found: dict[str, dict[str, Any]] = read((DEPLOY / "compose.yaml").read_text())
    return found["services"]


def test_every_file_that_is_mounted_is_there() -> None:
    """By paths that hold on any machine."""
    mounted = [
        volume.split(":")[0] for one in services().values() for volume in one.get("volumes", ())
    ]
    assert len(mounted) == 7
    for path in mounted:
        assert path.startswith("./")
        assert (DEPLOY / path).is_file(), path


def test_its_settings_are_settings() -> None:
    """And they can be used."""
    settings = load(services()["asset-sync"]["environment"], None).settings
    assert settings.http.status_page
    token = settings.pim.app_token
    assert token is not None
    assert token.get_secret_value() in services()["simulator"]["command"]


@pytest.mark.parametrize(
    ("name", "seconds"), [("asset-sync", 90), ("translate", 90), ("ingress", 30)]
)
def test_a_program_has_time_to_end_and_starts_again(name: str, seconds: int) -> None:
    """Docker kills after ten seconds otherwise."""
    service = services()[name]
    assert service["stop_grace_period"] == f"{seconds}s"
    assert service["restart"] == "on-failure"


def test_ports_are_open_to_this_machine_alone() -> None:
    """A demonstration is no deployment."""
    ports = [port for one in services().values() for port in one.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_prometheus_scrapes_the_service_with_the_labels_of_the_dashboard() -> None:
    """The dashboard chooses by namespace."""
    found = read((DEPLOY / "compose" / "prometheus.yml").read_text())
    (job,) = found["scrape_configs"]
    assert job["static_configs"][0]["labels"]["namespace"]
    assert METRICS == "asset_sync_"


def test_the_values_of_its_sources_suit_the_simulator() -> None:
    """A webhook that is sent as the file says ends `applied`: no value lacks its locale."""
    loaded = load_sources_file((DEPLOY / "compose" / "sources.yaml").read_bytes(), "sources.yaml")
    assert isinstance(loaded, SourcesFile), loaded
    (source,) = loaded.model.sources.values()
    uses = [one for one in uses_of("hooks", source, {}) if isinstance(one, AttributeUse)]
    attributes = sample().families["packshots"].attributes
    assert attributes is not None
    assert [use.attribute for use in uses] == ["label"]
    for use in uses:
        attribute = attributes[use.attribute]
        assert bool(use.locales) == attribute.value_per_locale
        assert bool(use.channels) == attribute.value_per_channel
