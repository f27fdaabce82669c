"""The exit codes of a program (contract.md §2)."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a program ended."""

    DRAINED = 0
    FAILED = 1
    WRONG_SETTINGS = 2
