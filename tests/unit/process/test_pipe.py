"""Messages arrive whole and in order, and the end of the other process is noticed."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator

import pytest

from service.process.pipe import UNSENT_BYTES_MAX, Pipe

MESSAGES = [b"", b"a", b"\x00" * 70_000, b"b"]


@pytest.fixture
async def pipes() -> AsyncIterator[tuple[Pipe, Pipe]]:
    """Yield both ends, and close them."""
    ours, theirs = socket.socketpair()
    ends = await Pipe.open(ours), await Pipe.open(theirs)
    yield ends
    for end in ends:
        await end.close()


async def test_messages_arrive_whole_and_in_order(pipes: tuple[Pipe, Pipe]) -> None:
    first, second = pipes
    for message in MESSAGES:
        first.send(message)
    assert [await second.receive() for _ in MESSAGES] == MESSAGES
    second.send(b"back")
    assert await first.receive() == b"back"


async def test_another_thread_can_send(pipes: tuple[Pipe, Pipe]) -> None:
    first, second = pipes
    thread = threading.Thread(target=first.send, args=(b"from a thread",))
    thread.start()
    assert await second.receive() == b"from a thread"
    thread.join()


async def test_the_end_of_the_other_process_is_the_end_of_the_messages(
    pipes: tuple[Pipe, Pipe],
) -> None:
    first, second = pipes
    first.send(b"last")
    await first.flush()
    await first.close()
    assert await second.receive() == b"last"
    assert await second.receive() is None
    second.send(b"lost")
    await second.flush()
    await asyncio.sleep(0)
    second.send(b"lost too")
    await second.flush()


async def test_half_a_message_is_none() -> None:
    ours, theirs = socket.socketpair()
    pipe = await Pipe.open(ours)
    theirs.sendall(b"\x00\x00\x00\x09half")
    theirs.close()
    assert await pipe.receive() is None
    await pipe.close()


async def test_a_process_that_hangs_costs_bounded_memory(pipes: tuple[Pipe, Pipe]) -> None:
    first, _ = pipes
    for _ in range(100):
        first.send(b"x" * 100_000)
    await asyncio.sleep(0)
    kept = first._writer.transport.get_write_buffer_size()
    assert UNSENT_BYTES_MAX < kept < UNSENT_BYTES_MAX + 200_000
