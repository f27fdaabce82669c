"""A network namespace for this process: the cluster, Kafka and the PIM are reached only in it."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

NODE_ADDRESS = "10.90.0.1"
POD_NETWORK = "10.244.0.0/24"
POD_GATEWAY = "10.244.0.1"
POD_BRIDGE = "pods0"
CLONE_NEWNET = 0x40000000
"""Of sched.h; the os module has it from Python 3.12 on."""

LINKS = (
    "link set lo up",
    "link add node0 type bridge",  # an address needs a link: a bridge without ports is one
    f"addr add {NODE_ADDRESS}/24 dev node0",
    "link set node0 up",
    f"link add {POD_BRIDGE} type bridge",
    f"addr add {POD_GATEWAY}/24 dev {POD_BRIDGE}",
    f"link set {POD_BRIDGE} up",
    "route add default dev node0",  # the kubelet looks for one
)


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """Move this thread, and what it starts, to a new network, and back when the context ends.

    The network has loopback, the node's address and the pods' bridge. Nothing leads out of it.
    """
    with Path("/proc/thread-self/ns/net").open() as before:
        _system_call("unshare", CLONE_NEWNET)
        try:
            for words in LINKS:
                subprocess.run(["ip", *words.split()], check=True)  # noqa: S603, S607 - our own
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            yield
        finally:
            _system_call("setns", before.fileno(), CLONE_NEWNET)


def _system_call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
