"""The demo, as a new user runs it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

SECONDS_MAX = 180.0
EVENTS = 400
ROW = re.compile(r"│ +(\S.*?) +│ +(\d+) │")


@contextlib.contextmanager
def kept_demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `asset-sync demo --keep` as a CI job does: stdin leads nowhere."""
    demo = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "service", "demo", "--keep", "--events", str(EVENTS)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield demo
    finally:
        demo.kill()
        demo.communicate()


def test_the_demo_adds_up_and_stays_up_until_a_signal(tmp_path: Path) -> None:
    """Broker, PIM, three programs and two kill -9: nothing twice, nothing missing.

    The numbers and the addresses are printed at once, the programs answer there, and a signal ends
    them all with exit code 0.
    """
    with kept_demo(tmp_path) as demo:
        assert demo.stdout is not None
        told = ""
        while "export ASSET_SYNC_PIM__PASSWORD=" not in told:
            line = demo.stdout.readline()
            assert line, f"it ended without a signal: {told}"
            told += line
        found = re.search(r"^asset-sync: +(http://127\.0\.0\.1:\d+)", told, re.MULTILINE)
        assert found is not None, told
        with urllib.request.urlopen(f"{found[1]}/readyz", timeout=SECONDS_MAX) as answer:  # noqa: S310 - http to loopback
            assert answer.status == 200
        pages = re.search(r"^console: +(http://127\.0\.0\.1:\d+)", told, re.MULTILINE)
        assert pages is not None, told
        with urllib.request.urlopen(f"{pages[1]}/waiting", timeout=SECONDS_MAX) as answer:  # noqa: S310 - http to loopback
            assert b"Nothing is waiting" in answer.read()
        assert_check_has_nothing_to_say(told, tmp_path)
        assert demo.poll() is None
        demo.send_signal(signal.SIGTERM)
        rest, _ = demo.communicate(timeout=SECONDS_MAX)

    assert demo.returncode == 0, told + rest
    assert "Traceback" not in rest
    assert_it_adds_up({name: int(number) for name, number in ROW.findall(told)})


def assert_check_has_nothing_to_say(told: str, folder: Path) -> None:
    """Run `asset-sync check` with the variables that the demo printed."""
    settings = dict(re.findall(r"^  export (\w+)=(\S+)$", told, re.MULTILINE))
    assert settings["ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS"].startswith("127.0.0.1:")
    checked = subprocess.run(
        [sys.executable, "-m", "service", "check"],
        env=os.environ | settings | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )
    assert checked.returncode == 0, checked
    assert {line.split()[0] for line in checked.stdout.splitlines()} == {"ok"}, checked.stdout


def assert_it_adds_up(rows: dict[str, int]) -> None:
    """Compare the numbers of the demo's table with each other."""
    assert (rows["duplicates"], rows["missing"]) == (0, 0), rows
    changes = rows["of them changes; the others ended in translate"]
    assert 0 < changes < rows["items of raw events, from three DAMs"]
    outcomes = sum(number for name, number in rows.items() if name.startswith("outcomes "))
    assert outcomes == rows["events, those changes included"] == EVENTS + changes
    assert rows["write calls to the PIM"] + rows["calls saved by grouping"] == outcomes
    assert rows["write calls to the PIM"] < EVENTS
