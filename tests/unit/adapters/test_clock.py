"""The clock of the state machines, on a machine that was suspended."""

import time
from typing import Any

import pytest

from service.adapters.clock import SystemClock
from service.adapters.kafka import reach
from service.apps.source import SourceMember
from service.apps.sync import Service
from service.core.inputs import Assigned, LeaseRenewed, Start
from service.core.model import Partition
from service.mapping.file.load import Loaded as LoadedFile
from service.mapping.file.load import load as load_file
from service.process.shutdown import Shutdown
from service.runtime.inbox import RunnerInbox
from service.settings import load
from tests.unit.test_sync import SETTINGS
from tests.unit.test_translate import FILE, settings

pytestmark = pytest.mark.skipif(
    not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no such clock"
)


class Machine:
    """The clocks of Linux: `CLOCK_MONOTONIC` stands still while the machine is suspended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.suspended_seconds = 0.0
        monkeypatch.setattr(time, "clock_gettime", self._read)

    def _read(self, clock: int) -> float:
        assert clock == time.CLOCK_BOOTTIME
        return time.monotonic() + self.suspended_seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that a test suspends."""
    return Machine(monkeypatch)


async def test_a_lease_ends_while_the_machine_is_suspended(machine: Machine) -> None:
    """So does the session at the broker, and another replica may send calls meanwhile."""
    clock = SystemClock()
    inbox = RunnerInbox[Any](clock)
    inbox.submit(LeaseRenewed(clock.now().seconds + 9.0))
    assert inbox.has_lease()

    machine.suspended_seconds = 10.0
    assert not inbox.has_lease()


@pytest.mark.parametrize("suspended_seconds", [-1e6, 1e6])
async def test_all_times_of_a_state_machine_are_of_one_clock(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, suspended_seconds: float
) -> None:
    """On a machine that was ever suspended, the two clocks differ for good."""

    async def not_asked(_: object) -> None:
        raise AssertionError("a heartbeat was acknowledged just before")

    monkeypatch.setattr(reach, "connection_error", not_asked)
    machine.suspended_seconds = suspended_seconds
    service = Service(load(SETTINGS, dotenv=None), Shutdown())
    member, watch = service._member, service._watch
    assigned = Assigned(1, {Partition("events", 0): Start(0)}, 1)
    member.runner._machine.step(assigned, SystemClock().now())

    assert watch.live()["runner"]
    report: Any = watch._report
    assert 0.0 <= report._status().silent_seconds < 60.0
    await watch._contact.check(member.consumer.assignment.lease_renewed_at)


async def test_so_are_those_of_a_source(machine: Machine) -> None:
    """Its state machine runs in `translate`."""
    machine.suspended_seconds = -1e6
    file = load_file(FILE, "sources.yaml")
    assert isinstance(file, LoadedFile)
    hosts: Any = object()
    source = SourceMember(settings(), file, "s3", hosts, lambda _: (), Shutdown(), sources=["s3"])
    assigned = Assigned(1, {Partition("raw.a", 0): Start(0)}, 1)
    source.member.runner._machine.step(assigned, SystemClock().now())
    assert 0.0 <= source.status().silent_seconds < 60.0
