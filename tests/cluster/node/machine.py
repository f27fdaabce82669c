"""What a node changes outside of its sandbox, and what it could leave behind there."""

import os
import socket
from pathlib import Path
from typing import NamedTuple

GROUPS = Path("/sys/fs/cgroup")
NAME_OF_GROUPS = "kubepods"
SYSCTLS = (
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""The kubelet sets them for the whole machine."""


class Machine(NamedTuple):
    """The state of this machine, as far as a node could change it."""

    control_groups: frozenset[Path]
    interfaces: frozenset[str]
    network_namespaces: frozenset[str]
    sysctls: dict[str, str]
    mounts: frozenset[str]
    """Those below the folder of the node."""
    processes: frozenset[str]
    """Command lines that name the folder of the node."""


def state_of_machine(folder: Path) -> Machine:
    """Return the present state, with the mounts and processes of a node in this folder."""
    named = Path("/run/netns")
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return Machine(
        frozenset(_control_groups()),
        frozenset(name for _, name in socket.if_nameindex()),
        frozenset(path.name for path in named.glob("*")),
        {name: _sysctl(name).read_text().strip() for name in SYSCTLS if _sysctl(name).exists()},
        frozenset(line for line in mounts if str(folder) in line),
        frozenset(line for line in _command_lines() if str(folder) in line),
    )


def restore(before: Machine) -> None:
    """Put back what the kubelet set, and remove its control groups, which must be empty."""
    for name, value in before.sysctls.items():
        if _sysctl(name).read_text().strip() != value:
            _sysctl(name).write_text(value)
    for top in _control_groups():
        for folder, _, _ in os.walk(top, topdown=False):
            Path(folder).rmdir()


def _control_groups() -> list[Path]:
    """Return the control groups of pods, in each hierarchy of version 1 or the one of version 2."""
    return [*GROUPS.glob(NAME_OF_GROUPS), *GROUPS.glob(f"*/{NAME_OF_GROUPS}")]


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


def _command_lines() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it ended meanwhile
            continue
    return lines
