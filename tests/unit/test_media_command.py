"""`asset-sync media get`: a file of the PIM is saved whole or not at all."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.playground.pim.faults import Fault
from service.playground.pim.server import served
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample

CODE = "a/b/abc_boot side.jpg"


class Terminal:
    """A person who asks a PIM for files."""

    def __init__(self, pim: PimSimulator, url: str, folder: Path) -> None:
        self.pim = pim
        self.folder = folder
        self._environ = {
            "ASSET_SYNC_PIM__BASE_URL": url,
            "ASSET_SYNC_PIM__APP_TOKEN": "t0ken",
            "ASSET_SYNC_PIM__TIMEOUT_SECONDS": "3",
        }
        pim.tokens.app_token = "t0ken"

    async def get(self, code: str, file: str) -> Result:
        """Run the command, while the PIM serves."""
        words = ["media", "get", code, str(self.folder / file)]
        return await asyncio.to_thread(CliRunner().invoke, main, words, env=self._environ)

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
async def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    """A PIM with one media file."""
    monkeypatch.chdir(tmp_path)
    pim = PimSimulator(sample())
    pim.media[CODE] = os.urandom(20 * 1024 * 1024)
    async with served(pim) as url:
        yield Terminal(pim, url, tmp_path)


async def test_a_file_is_saved(terminal: Terminal) -> None:
    """Also one that is larger than any other answer may be; an older one is replaced."""
    (terminal.folder / "boot.jpg").write_bytes(b"old")
    ended = await terminal.get(CODE, "boot.jpg")
    assert ended.exit_code == 0, ended.output
    assert "20,971,520 bytes" in ended.output
    assert (terminal.folder / "boot.jpg").read_bytes() == terminal.pim.media[CODE]
    assert terminal.files == {"boot.jpg"}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(route="download", status=500), "HTTP 500"),
        (Fault(route="download", status=403), "may not read media files"),
        (Fault(route="download", status=401), "HTTP 401"),
        (Fault(route="download", cut="before"), "The connection failed"),
        (Fault(route="download", hang=True), "No answer within 3 s"),
    ],
)
async def test_what_is_not_there_whole_is_not_saved(
    terminal: Terminal, fault: Fault, said: str
) -> None:
    """And what was there stays."""
    (terminal.folder / "boot.jpg").write_bytes(b"old")
    terminal.pim.faults.add(fault)
    ended = await terminal.get(CODE, "boot.jpg")
    assert ended.exit_code == 1
    assert said in ended.output
    assert (terminal.folder / "boot.jpg").read_bytes() == b"old"
    assert terminal.files == {"boot.jpg"}


async def test_what_cannot_be_saved(terminal: Terminal) -> None:
    """The PIM does not have it, or there is no place for it."""
    ended = await terminal.get("a/b", "boot.jpg")
    assert (ended.exit_code, "has no media file a/b" in ended.output) == (1, True)
    ended = await terminal.get(CODE, "nowhere/boot.jpg")
    assert (ended.exit_code, "cannot be written: No such file" in ended.output) == (1, True)
    assert terminal.files == set()


async def test_a_full_disk_is_not_the_fault_of_the_connection(terminal: Terminal) -> None:
    """It is said as such, and what was there stays."""
    (terminal.folder / "boot.jpg").write_bytes(b"old")
    (terminal.folder / "boot.jpg.part").symlink_to("/dev/full")
    ended = await terminal.get(CODE, "boot.jpg")

    assert ended.exit_code == 1
    assert "boot.jpg cannot be written: No space left on device." in ended.output
    assert (terminal.folder / "boot.jpg").read_bytes() == b"old"
    assert terminal.files == {"boot.jpg"}
