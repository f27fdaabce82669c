"""The folder of media files: who owns it, and what is left behind."""

import asyncio
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.adapters.media import folder as media_folder
from service.adapters.media.folder import LOCK, PREFIX, READ_BYTES, MediaFolder
from tests.support.service import ROOT
from tests.support.waiting import until

LIVES = """
import asyncio, sys
from pathlib import Path
from service.adapters.media.folder import MediaFolder

async def live():
    folder = MediaFolder(Path(sys.argv[1]))
    await folder.new_file(1).write(b"half of a file")
    print(folder.path.name, flush=True)
    await asyncio.sleep(600)

asyncio.run(live())
"""
"""A process that has begun a file."""


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[MediaFolder]:
    """A folder of this process."""
    made = MediaFolder(tmp_path)
    yield made
    if made.path.exists():
        await made.close()


def folders_in(directory: Path) -> set[str]:
    """The names of the folders in the directory."""
    return {path.name for path in directory.iterdir()}


async def until_gone(path: Path) -> None:
    """Wait until the thread of a folder has removed the file."""
    await until(lambda: not path.exists())


async def test_what_was_written_is_read(folder: MediaFolder) -> None:
    """With its digest, in pieces."""
    content = os.urandom(2 * READ_BYTES + 1)
    file = folder.new_file(7)
    await file.write(content[:10])
    await file.write(content[10:])
    assert await file.finish() == hashlib.sha256(content).hexdigest()

    parts = [part async for part in folder.read(7)]
    assert b"".join(parts) == content
    assert [len(part) for part in parts] == [READ_BYTES, READ_BYTES, 1]
    assert await folder.size(7) == len(content) == file.size


async def test_a_file_is_begun_anew(folder: MediaFolder) -> None:
    """By the source that sends it from its beginning, and by a second download."""
    for content in (b"new", b""):
        file = folder.new_file(7)
        await file.write(b"something longer")
        await file.restart()
        await file.write(content)
        assert await file.finish() == hashlib.sha256(content).hexdigest()
        assert b"".join([part async for part in folder.read(7)]) == content


async def test_what_is_not_needed_is_removed(folder: MediaFolder) -> None:
    """Written or half written; a file that is not there is no error."""
    whole, half = folder.new_file(1), folder.new_file(2)
    await whole.write(b"whole")
    await whole.finish()
    await half.write(b"half")
    folder.drop(1)
    half.discard()
    folder.drop(3)
    await until_gone(folder.path / "2")
    assert folders_in(folder.path) == {LOCK}
    with pytest.raises(FileNotFoundError):
        await folder.size(1)
    with pytest.raises(FileNotFoundError):
        [part async for part in folder.read(1)]


async def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """By a cleaner of temporary files, for example. The new one is locked like the first."""
    directory = tmp_path / "media"
    folder = MediaFolder(directory)
    for _ in range(2):
        shutil.rmtree(directory)
        file = folder.new_file(1)
        await file.write(b"content")
        await file.finish()
        assert b"".join([part async for part in folder.read(1)]) == b"content"
        other = MediaFolder(directory)
        assert await folder.size(1) == 7, "a process that starts does not take it for abandoned"
        await other.close()
    await folder.close()
    assert folders_in(directory) == set()


async def test_a_cancelled_write_does_not_outlive_its_file(folder: MediaFolder) -> None:
    """The descriptor is closed after the write, so the write never meets one that is used anew."""
    file = folder.new_file(1)
    await file.write(b"begun")
    writing = asyncio.create_task(file.write(b"x" * (1 << 22)))
    await asyncio.sleep(0)
    writing.cancel()
    file.discard()
    await until_gone(folder.path / "1")
    assert file._descriptor is None


async def test_an_orderly_end_leaves_nothing(tmp_path: Path) -> None:
    folder = MediaFolder(tmp_path)
    await folder.new_file(1).write(b"half")
    await folder.close()
    assert folders_in(tmp_path) == set()


async def test_a_killed_process_leaves_nothing_after_the_next_start(tmp_path: Path) -> None:
    """A process that lives keeps its files."""
    processes = [
        subprocess.Popen(  # noqa: S603, ASYNC220 - our own code
            [sys.executable, "-c", LIVES, str(tmp_path)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for _ in range(2)
    ]
    try:
        names = []
        for process in processes:
            assert process.stdout is not None
            names.append(process.stdout.readline().decode().strip())
        assert folders_in(tmp_path) == set(names)
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()
        assert (tmp_path / names[0] / "1").read_bytes() == b"half of a file"

        folder = MediaFolder(tmp_path)
        assert folders_in(tmp_path) == {names[1], folder.path.name}
        assert (tmp_path / names[1] / "1").read_bytes() == b"half of a file"
        await folder.close()
    finally:
        for process in processes:
            process.kill()
            process.communicate()


async def test_a_folder_that_is_taken_for_abandoned_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that starts at the same time removes it; then a further one is made."""
    made: list[Path] = []
    original = media_folder._lock

    def removed_first(folder: Path) -> int | None:
        made.append(folder)
        if len(made) == 1:
            shutil.rmtree(folder)
        return original(folder)

    monkeypatch.setattr(media_folder, "_lock", removed_first)
    folder = MediaFolder(tmp_path)
    assert len(made) == 2
    assert folders_in(tmp_path) == {folder.path.name} == {made[1].name}
    await folder.close()


async def test_a_folder_that_is_removed_while_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever removed it held the lock until then; a lock on a removed file locks nothing."""
    original = fcntl.flock
    removed: list[Path] = []

    def removed_meanwhile(descriptor: int, how: int) -> None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            shutil.rmtree(removed[0])
            (removed[0]).mkdir()
            (removed[0] / LOCK).touch()
        original(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    folder = MediaFolder(tmp_path)
    assert folder.path != removed[0]
    await folder.close()


async def test_a_write_that_the_disk_takes_in_parts(
    folder: MediaFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.write
    monkeypatch.setattr(os, "write", lambda to, data: original(to, bytes(data[:1000])))
    content = os.urandom(10_500)
    file = folder.new_file(1)
    await file.write(content)
    assert await file.finish() == hashlib.sha256(content).hexdigest()
    assert b"".join([part async for part in folder.read(1)]) == content


async def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    """Other names, and a link that somebody laid where a folder would be."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(other)
    trap = tmp_path / f"{PREFIX}trap"
    trap.mkdir()
    (trap / LOCK).symlink_to(other / "precious")
    folder = MediaFolder(tmp_path)
    await folder.close()
    assert folders_in(other) == {"precious"}
    assert folders_in(tmp_path) == {"other", f"{PREFIX}link", f"{PREFIX}trap"}


def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        MediaFolder(tmp_path / "file" / "below")
