"""Which addresses are connected to, on a machine whose loopback has public ones."""

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.support.public_net import INSIDE, METADATA, OTHER, PUBLIC
from tests.support.service import ROOT

NAMESPACE = ["unshare", "--net", "--mount"]


def _can_unshare() -> bool:
    """Return whether this machine allows to make a network with addresses of its own."""
    if any(shutil.which(tool) is None for tool in ("unshare", "ip", "mount")):
        return False
    tried = subprocess.run([*NAMESPACE, "ip", "link"], check=False, capture_output=True)  # noqa: S603
    return tried.returncode == 0


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of each download."""
    if not _can_unshare():
        pytest.skip("no network namespace can be made here (unshare and ip need a privilege)")
    folder = tmp_path_factory.mktemp("net")
    done = subprocess.run(  # noqa: S603 - our own code
        [*NAMESPACE, sys.executable, "-m", "tests.support.public_net", str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
        timeout=120,
    )
    ends: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return ends


@pytest.mark.parametrize(("case", "asked"), [("public", [PUBLIC]), ("redirected", [PUBLIC, OTHER])])
def test_public_hosts_are_asked(
    found: dict[str, dict[str, Any]], case: str, asked: list[str]
) -> None:
    """At the addresses that the nameserver gives."""
    assert found[case]["end"] == "Downloaded"
    assert found[case]["asked"] == asked


@pytest.mark.parametrize(
    ("case", "asked", "address"),
    [
        ("inside", [], INSIDE),
        ("redirected inside", [PUBLIC], INSIDE),
        ("metadata", [], METADATA),
        ("redirected to metadata", [PUBLIC], METADATA),
        ("redirected to a name of metadata", [PUBLIC], METADATA),
        ("both", [], INSIDE),
        ("rebound", [PUBLIC], INSIDE),
        ("moving", [PUBLIC], METADATA),
    ],
)
def test_addresses_inside_are_never_asked(
    found: dict[str, dict[str, Any]], case: str, asked: list[str], address: str
) -> None:
    """Whatever name or redirect leads there, and though the name had a public one before."""
    assert found[case]["end"] == "DownloadRefused"
    assert f"has the address {address}, which is not public" in found[case]["message"]
    assert found[case]["asked"] == asked
