"""The tables of a segment, and how its file is opened.

Rule 1: the positions of the topic stand in the newest segment, and change in the transaction that
adds the outcomes. So after any crash no outcome is missing and none is there twice.
Rule 2: each index has `age`, which is lower for what is newer, and then the number of the row,
which SQLite appends to an index that does not name it. So every search reads its hits in ascending
order from an index, and stops when a page is full.
Rule 3: families and endings are numbered within the segment, which keeps the indexes small.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

VERSION = 1
"""Raise it whenever a table changes: an index of another version is built again."""
APPLICATION_ID = 0x61737978
"""Marks the file as a segment of this index (`asyx` in ASCII)."""
WRITER_CACHE_KIB = 24 * 1024
READER_CACHE_KIB = 256
"""For each segment and thread of a search; the operating system caches the file besides."""
WAL_BYTES_MAX = 16 * 1024 * 1024
"""A larger write-ahead log is truncated when it has been copied into the file."""
BUSY_MS = 5_000

TABLES = """
CREATE TABLE outcomes (
    number INTEGER PRIMARY KEY,
    age INTEGER NOT NULL,
    family INTEGER NOT NULL,
    ending INTEGER NOT NULL,
    code TEXT,
    entry BLOB NOT NULL
);
CREATE INDEX by_age ON outcomes (age);
CREATE INDEX by_family ON outcomes (family, age);
CREATE INDEX by_ending ON outcomes (ending, age, number, family);
CREATE INDEX by_code ON outcomes (code, age, number, family, ending) WHERE code IS NOT NULL;
CREATE TABLE identifiers (
    hash INTEGER NOT NULL,
    age INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (hash, age, number)
) WITHOUT ROWID;
CREATE TABLE families (number INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE endings (number INTEGER PRIMARY KEY, status TEXT NOT NULL, detail TEXT NOT NULL);
CREATE TABLE positions (partition INTEGER PRIMARY KEY, position INTEGER NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class DamagedError(Exception):
    """The file has what was never written, such as a row of an index alone, or another type."""


READ_ERRORS = (sqlite3.Error, UnicodeDecodeError, DamagedError)
"""What reading a file raises. Python cannot decode the names and texts of some damaged files."""

DAMAGE_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT})
"""No row that is added breaks a constraint of the tables, unless rows that they have are wrong."""
_WORDS_OF_DAMAGE = ("no such table", "no such column", "Could not decode")
_PRIMARY_CODE = 0xFF
"""The bits of an error code that tell its kind; the others tell more about it."""


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open or create a segment's file, for one thread at a time.

    Raises:
        sqlite3.Error: the file is damaged, or cannot be opened.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    pragmas = (
        f"busy_timeout = {BUSY_MS}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        f"cache_size = -{WRITER_CACHE_KIB}",
        f"journal_size_limit = {WAL_BYTES_MAX}",
        "temp_store = MEMORY",
    )
    return _with_pragmas(connection, pragmas)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a segment's file for searches, which cannot change it.

    Raises:
        sqlite3.Error: the file is gone or damaged, or cannot be opened.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    pragmas = (f"busy_timeout = {BUSY_MS}", f"cache_size = -{READER_CACHE_KIB}")
    return _with_pragmas(connection, pragmas)


def _with_pragmas(connection: sqlite3.Connection, pragmas: Iterable[str]) -> sqlite3.Connection:
    """Return the connection with these settings; close it if the file is damaged."""
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def is_damage(error: Exception) -> bool:
    """Return whether the error says that the file is not what it should be."""
    if not isinstance(error, sqlite3.Error):
        return isinstance(error, UnicodeDecodeError | DamagedError)
    code = getattr(error, "sqlite_errorcode", None)
    is_unreadable = any(words in str(error) for words in _WORDS_OF_DAMAGE)
    return is_unreadable or (code is not None and code & _PRIMARY_CODE in DAMAGE_CODES)
