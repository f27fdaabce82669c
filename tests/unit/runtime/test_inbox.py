"""The inbox: what is submitted, in which order, and what wakes the runner."""

import asyncio

import pytest

from service.core.inputs import (
    Arrived,
    DrainKind,
    DrainStarted,
    Forgotten,
    LeaseRenewed,
    RequestInput,
    RequestWanted,
)
from service.core.model import Moment, Origin, Partition, SourceRecord
from service.runtime.inbox import RECORDS_PER_STEP, RunnerInbox

PipelineInbox = RunnerInbox[RequestInput]


class HandClock:
    """A clock that stands until it is set."""

    seconds = 0.0

    def now(self) -> Moment:
        """The seconds it was set to."""
        return Moment(self.seconds, 0)


@pytest.fixture
async def inbox() -> PipelineInbox:
    """An empty inbox."""
    return PipelineInbox(HandClock())


def arrived(count: int) -> Arrived:
    """So many records of one partition."""
    origins = (Origin(Partition("events", 0), offset, 1) for offset in range(count))
    return Arrived(tuple(SourceRecord(origin, None, b"{}") for origin in origins))


async def test_records_come_last_and_in_portions(inbox: PipelineInbox) -> None:
    """Between two portions everything else gets its turn."""
    inbox.submit(arrived(RECORDS_PER_STEP + 1))
    inbox.submit(Forgotten())
    first = list(inbox.take())
    inbox.submit(RequestWanted(1))
    second = list(inbox.take())

    assert [type(one) for one in first] == [Forgotten, Arrived]
    assert [type(one) for one in second] == [RequestWanted, Arrived]


async def test_records_are_taken_in_once_all_were_stepped_through(
    inbox: RunnerInbox[RequestInput],
) -> None:
    """Otherwise the consumer would read on before the pipeline could pause it."""
    taking_in = asyncio.create_task(inbox.take_in(arrived(RECORDS_PER_STEP + 1)))
    await asyncio.sleep(0)
    list(inbox.take())
    await asyncio.sleep(0)
    assert not taking_in.done()

    list(inbox.take())
    await asyncio.wait_for(taking_in, 5)


async def test_nobody_waits_for_a_runner_that_ended(inbox: PipelineInbox) -> None:
    """The consumer could not be closed."""
    taking_in = asyncio.create_task(inbox.take_in(arrived(1)))
    await asyncio.sleep(0)
    inbox.close()

    await asyncio.wait_for(taking_in, 5)


async def test_an_earlier_acknowledgement_does_not_shorten_the_lease() -> None:
    """Answers to heartbeats may be read in any order."""
    clock = HandClock()
    inbox = PipelineInbox(clock)
    assert not inbox.has_lease()

    inbox.submit(LeaseRenewed(10.0))
    inbox.submit(LeaseRenewed(5.0))
    clock.seconds = 9.0
    assert inbox.has_lease()
    clock.seconds = 10.0
    assert not inbox.has_lease()


async def test_every_drain_ends_with_the_drain(inbox: PipelineInbox) -> None:
    """A shutdown during a revocation: both wait for what is left."""
    revoking = asyncio.create_task(inbox.drain(DrainKind.REVOCATION, 5.0))
    leaving = asyncio.create_task(inbox.drain(DrainKind.SHUTDOWN, 7.0))
    await asyncio.sleep(0)
    assert list(inbox.take()) == [
        DrainStarted(DrainKind.REVOCATION, 5.0),
        DrainStarted(DrainKind.SHUTDOWN, 7.0),
    ]

    inbox.end_drains(3)
    assert (await revoking, await leaving) == (3, 3)


async def test_a_submission_ends_the_wait(inbox: PipelineInbox) -> None:
    """Also after a wait that ended by its time."""
    await asyncio.wait_for(inbox.wait(0.01), 5)
    waiting = asyncio.create_task(inbox.wait(3600.0))
    await asyncio.sleep(0)
    inbox.submit(Forgotten())

    await asyncio.wait_for(waiting, 5)
    inbox.close()


async def test_the_first_failure_ends_the_wait(inbox: PipelineInbox) -> None:
    """Later ones may follow from it."""
    waiting = asyncio.create_task(inbox.wait(3600.0))
    await asyncio.sleep(0)
    inbox.fail(ValueError("first"))
    inbox.fail(ValueError("second"))

    with pytest.raises(ValueError, match="first"):
        await asyncio.wait_for(waiting, 5)
    inbox.close()
