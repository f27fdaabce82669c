"""The demo, as a new user runs it."""

import asyncio
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

from service.playground.demo import Progress, run_demo
from tests.support.service import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

SECONDS_MAX = 180.0


async def test_the_demo_adds_up() -> None:
    """Broker, PIM, three programs and two kill -9: nothing twice, nothing missing."""
    result = await asyncio.to_thread(run_demo, 400, Progress(lambda _: None))

    assert result.flaws == []
    assert sum(result.audit.statuses.values()) == 400 + result.items.changes
    assert 0 < result.items.changes < result.items.items
    assert result.pim_calls < 400


@contextlib.contextmanager
def kept_demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `asset-sync demo --keep` as a CI job does: stdin leads nowhere."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "service", "demo", "--keep", "--events", "200"],
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


def test_a_kept_demo_stays_up_until_a_signal(tmp_path: Path) -> None:
    """It prints the numbers and addresses at once, answers there, and ends with 0."""
    with kept_demo(tmp_path) as demo:
        assert demo.stdout is not None
        told = ""
        while "export ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:" not in told:
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
        assert demo.poll() is None
        demo.send_signal(signal.SIGTERM)
        rest, _ = demo.communicate(timeout=SECONDS_MAX)

    assert demo.returncode == 0, told + rest
    assert re.search(r"duplicates +. +0 ", told), "the numbers are printed before it waits"
    assert "Traceback" not in rest
