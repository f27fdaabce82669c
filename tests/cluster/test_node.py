"""A node leaves nothing behind, however its processes detach themselves.

By its name this module comes before all that start the node of the session, beside which it skips.
"""

import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import skip_where_no_node_runs
from tests.cluster.node.machine import state_of_machine
from tests.cluster.node.network import NODE_ADDRESS, own_network
from tests.cluster.node.sandbox import PLACES, Sandbox

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def _skip_where_no_node_runs() -> None:
    skip_where_no_node_runs()


def test_what_detaches_itself_and_what_is_mounted_ends_with_the_sandbox(tmp_path: Path) -> None:
    before = state_of_machine(tmp_path)
    folder = tmp_path / "sandbox"
    with Sandbox(folder) as sandbox:
        (folder / "mounted").mkdir()
        sandbox.run("mount", "-t", "tmpfs", "of-a-test", str(folder / "mounted"))
        sandbox.run("sh", "-c", f"setsid sh -c 'sleep 300; echo {folder}' > /dev/null 2>&1 &")
        sandbox.start("stubborn", "sh", "-c", f"trap '' TERM; sleep 300; echo {folder}")
        while len(state_of_machine(folder).processes) < 3:
            time.sleep(0.05)
        assert state_of_machine(folder).mounts == frozenset()
    assert state_of_machine(tmp_path) == before


@pytest.mark.parametrize(("name", "place"), PLACES.items())
def test_what_runtimes_write_stays_in_the_sandbox(tmp_path: Path, name: str, place: str) -> None:
    written = Path(place) / "asset-sync-of-a-test"
    with Sandbox(tmp_path / "sandbox") as sandbox:
        sandbox.run("touch", str(written))
        assert not written.exists()
        assert (tmp_path / "sandbox" / name / written.name).exists()
    assert not (tmp_path / "sandbox" / name).exists()


def test_processes_of_a_sandbox_see_only_one_another(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        assert sandbox.run("sh", "-c", "echo /proc/[0-9]*").split()[0] == "/proc/1"
        assert len(sandbox.run("sh", "-c", "echo /proc/[0-9]*").split()) < 5


def test_its_network_is_its_own() -> None:
    before = socket.if_nameindex()
    with own_network():
        with socket.create_server((NODE_ADDRESS, 0)) as server:
            socket.create_connection(server.getsockname(), 5).close()
        addresses = subprocess.run(["ip", "-brief", "address"], capture_output=True, check=True)  # noqa: S607
        assert len(addresses.stdout.splitlines()) == 3
    assert socket.if_nameindex() == before
    with pytest.raises(OSError, match="assign"):
        socket.create_server((NODE_ADDRESS, 0))
