"""Processes as the operating system sees them."""

from pathlib import Path


def is_running(pid: int) -> bool:
    """Return whether the process runs, rather than waiting for its parent to take its exit code."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
