"""The folder on disk in which a process keeps media files between download and upload.

Rule 1: a folder belongs to a process for as long as that process holds the lock on the file `lock`
in it. The kernel releases the locks of a process that was killed, so the next start can tell what
it left behind, and removes it.
Rule 2: one thread does all work on the files, in the order in which it was asked for. A disk that
hangs therefore stops no heartbeat, and no file is closed or removed while it is written.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

PREFIX = "asset-sync-media-"
LOCK = "lock"

READ_BYTES = 256 * 1024
"""How much of a file is read at once. The PIM may answer during a write of more than 64 KiB."""

Result = TypeVar("Result")


class MediaFolder:
    """The folder of this process; each file in it has a number."""

    def __init__(self, directory: Path) -> None:
        """Remove what dead processes left in the directory, and make a folder for this one.

        Raises:
            OSError: the directory cannot be made or written to.
        """
        directory.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(directory)
        self.path, self._lock = _locked_folder(directory)
        self._thread = _Thread()

    def new_file(self, file_id: int) -> "NewFile":
        """Begin a file; an older one of this number is overwritten."""
        return NewFile(self._path_of(file_id), self._thread, self._make_again)

    async def size(self, file_id: int) -> int:
        """Return the size of a file in bytes.

        Raises:
            OSError: the file cannot be read.
        """
        return (await self._thread.run(self._path_of(file_id).stat)).st_size

    async def read(self, file_id: int) -> AsyncGenerator[bytes, None]:
        """Yield the content of a file in pieces of `READ_BYTES`.

        Raises:
            OSError: the file cannot be read.
        """
        reader = _Reader(self._path_of(file_id))
        try:
            while part := await self._thread.run(reader.read):
                yield part
        finally:
            self._thread.submit(reader.close)

    def drop(self, file_id: int) -> None:
        """Remove a file, if it exists; this does not wait."""
        path = self._path_of(file_id)
        self._thread.submit(lambda: path.unlink(missing_ok=True))

    async def close(self) -> None:
        """Remove the folder with everything in it."""
        await self._thread.run(lambda: shutil.rmtree(self.path, ignore_errors=True))
        self._thread.close()
        os.close(self._lock)

    def _make_again(self) -> None:
        """Make the folder that somebody removed, such as a cleaner of temporary files.

        Raises:
            OSError: it cannot be made or locked.
        """
        self.path.mkdir(0o700, parents=True, exist_ok=True)
        if (lock := _lock(self.path)) is not None:
            os.close(self._lock)
            self._lock = lock

    def _path_of(self, file_id: int) -> Path:
        return self.path / str(file_id)


class NewFile:
    """A file that is being written, with the SHA-256 of its content."""

    def __init__(self, path: Path, thread: "_Thread", make_folder: Callable[[], None]) -> None:
        self._path = path
        self._thread = thread
        self._make_folder = make_folder
        self._descriptor: int | None = None
        self._digest = sha256()
        self.size = 0
        """How many bytes were written."""

    async def write(self, data: bytes) -> None:
        """Append the data.

        Raises:
            OSError: the disk does not take it, for example because it is full.
        """
        self.size += len(data)
        await self._thread.run(lambda: self._append(data))

    async def restart(self) -> None:
        """Forget what was written."""
        self.size = 0
        await self._thread.run(self._truncate)

    async def finish(self) -> str:
        """Close the file, and return the SHA-256 of its content in hexadecimal digits.

        Raises:
            OSError: the disk has not taken all of it.
        """
        await self._thread.run(self._finish)
        return self._digest.hexdigest()

    def discard(self) -> None:
        """Close and remove the file; this does not wait."""
        self._thread.submit(self._close)
        self._thread.submit(lambda: self._path.unlink(missing_ok=True))

    # --- in the thread -----------------------------------------------------------------------

    def _append(self, data: bytes) -> None:
        descriptor = self._opened()
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        self._digest.update(data)

    def _finish(self) -> None:
        self._opened()  # an empty file exists too
        self._close()

    def _truncate(self) -> None:
        self._close()
        self._digest = sha256()

    def _opened(self) -> int:
        if self._descriptor is None:
            try:
                self._descriptor = self._open()
            except FileNotFoundError:
                self._make_folder()
                self._descriptor = self._open()
        return self._descriptor

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class _Reader:
    """Reads a file from its beginning; used in the thread alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read(self) -> bytes:
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return os.read(self._descriptor, READ_BYTES)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


class _Thread:
    """The thread of rule 2. What it is asked for is done even if the asking task is cancelled."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "media-folder")

    async def run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def submit(self, work: Callable[[], None]) -> None:
        self._executor.submit(work)

    def close(self) -> None:
        self._executor.shutdown(wait=False)


def _remove_abandoned(directory: Path) -> None:
    """Remove the folders in this directory whose processes have ended."""
    for folder in directory.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            if _is_ours(folder) and (lock := _lock(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _is_ours(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _locked_folder(directory: Path) -> tuple[Path, int]:
    """Return a new folder, and the descriptor that holds its lock.

    A process that starts at the same time may find the folder before it is locked, take it for
    abandoned and remove it. Then a further one is made.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=directory))
        with contextlib.suppress(FileNotFoundError):
            if (lock := _lock(folder)) is not None:
                return folder, lock


def _lock(folder: Path) -> int | None:
    """Lock the folder, and return the descriptor that holds the lock; None if it is not free.

    Raises:
        OSError: the folder is gone, or its file system has no locks.
    """
    path = folder / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held the lock until now may have removed the folder meanwhile.
        is_there = path.stat().st_ino == os.fstat(descriptor).st_ino
    except BlockingIOError:
        is_there = False
    except OSError:
        os.close(descriptor)
        raise
    if is_there:
        return descriptor
    os.close(descriptor)
    return None
