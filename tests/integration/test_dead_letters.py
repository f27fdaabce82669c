"""Dead letters on a real broker: listed, replayed once, also when the replay is killed."""

import asyncio
import base64
import contextlib
import json
import os
import pty
import re
import signal
import termios
from collections import Counter
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from service.playground.pim.faults import Fault
from tests.support.proof import upsert
from tests.support.service import Input, SystemUnderTest, aside, run, start_command
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


def bad(code: str) -> Input:
    """An event that is rejected: its family is not there."""
    return 0, f"nowhere/{code}".encode(), upsert("nowhere", code, {"n": "1"})


async def bury(system: SystemUnderTest, count: int) -> None:
    """Dead letters as the service writes them, quickly."""
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap, linger_ms=20)
    await producer.start()
    sent = []
    for number in range(count):
        ours = {
            "traceparent": f"t{number}",
            "dlq.original.topic": system.events,
            "dlq.original.partition": str(number % 3),
            "dlq.original.offset": str(number),
            "dlq.reason": "unknown_family",
            "dlq.outcome.id": f"{system.events}/{number % 3}/{number}",
        }
        headers = [(name, text.encode()) for name, text in ours.items()]
        key, value = f"f/{number}".encode(), upsert("f", str(number), {})
        sent.append(await producer.send(system.dead_letters, value, key=key, headers=headers))
    await asyncio.gather(*sent)
    await producer.stop()


async def first_replay(system: SystemUnderTest) -> None:
    """Wait until something was written back."""
    for _ in range(100):
        if await system.read(system.events, 1, seconds=0.3):
            return
    raise AssertionError("nothing is replayed")


async def test_what_was_rejected_is_listed_and_replayed_once(system: SystemUnderTest) -> None:
    """A family that was missing is there now: its changes go in again and are applied."""
    await system.publish([bad("a"), bad("b"), (1, None, b"{"), (1, None, b"")])
    replica = system.start()
    assert len(await system.outcome_data(4)) == 4, system.logs()

    listed = await aside(system, "dead-letters", "list", "--reason", "unknown_family", "--json")
    letters = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [letter["code"] for letter in letters] == ["a", "b"], listed
    table = (await aside(system, "dead-letters", "list")).stdout.decode()
    assert "nowhere/a" in table
    assert "undecodable" in table
    assert "4 dead letters" in table

    # A replica that has just begun does not remember that the family was unknown.
    replica.kill()
    replica.wait()
    replica = system.start()
    system.pim.structure.families["nowhere"] = system.pim.structure.families["packshots"]
    dry = await aside(system, "dead-letters", "replay", "--family", "nowhere", "--dry-run")
    assert b"2 would be replayed" in dry.stdout, dry
    done = await aside(system, "dead-letters", "replay", "--family", "nowhere")
    assert done.returncode == 0, done.stderr
    assert b"2 replayed" in done.stdout
    again = await aside(system, "dead-letters", "replay", "--family", "nowhere")
    assert b"0 replayed; left out: 2 replayed" in again.stdout

    outcomes = await system.outcome_data(6)
    applied = [o["data"] for o in outcomes if o["data"]["status"] == "applied"]
    assert {data["replay_of"] for data in applied} == {f"{system.events}/0/{n}" for n in (0, 1)}
    left = await aside(system, "dead-letters", "list")
    assert b"2 dead letters" in left.stdout
    replica.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(replica.wait, 20) == 0


Written = tuple[bytes | None, bytes | None, dict[str, bytes]]
"""Key, value and headers beside those of a dead letter."""


async def write_letters(system: SystemUnderTest, letters: list[Written]) -> None:
    """Dead letters of these keys, values and headers on partition 0, from offset 0 on."""
    async with AIOKafkaProducer(bootstrap_servers=system.bootstrap) as producer:
        for number, (key, value, more) in enumerate(letters):
            ours = {
                "dlq.original.topic": system.events.encode(),
                "dlq.original.partition": b"1",
                "dlq.original.offset": b"%d" % number,
                "dlq.reason": b"invalid_event",
                "dlq.message": HOSTILE.encode(),
            }
            of_record = {n: v for n, v in more.items() if not n.startswith("dlq.")}
            headers = list((of_record | ours | more).items())
            await producer.send_and_wait(
                system.dead_letters, value, key=key, headers=headers, partition=0
            )


HOSTILE = "\\[/x] [red]no[/red] :x: \x1b[2J\n\u202e" + " words for more than 80 columns" * 3
SHOWN = HOSTILE.encode("unicode_escape").decode().replace("\\\\", "\\")


async def test_the_list_at_80_columns_shows_every_message(system: SystemUnderTest) -> None:
    """Foreign text is text, on a terminal and in a pipe, whatever the width."""
    await write_letters(
        system, [(b"packshots/" + b"c" * 60, upsert("packshots", "c" * 60, {}), {})]
    )

    for words in (("list",), ("replay", "--dry-run")):
        piped = run(system, "dead-letters", *words).stdout.decode()
        assert SHOWN in piped.splitlines()[0]
        on_terminal = await asyncio.to_thread(on_a_terminal, system, "dead-letters", *words)
        assert all(len(line) <= 80 for line in on_terminal.splitlines())
        assert SHOWN.replace(" ", "") in "".join(on_terminal.split())
        assert f"packshots/{'c' * 60}" in on_terminal


def on_a_terminal(system: SystemUnderTest, *words: str) -> str:
    """What a command shows on a terminal of 80 columns, without colours."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with start_command(system, *words, out=theirs) as command:
        os.close(theirs)
        found = b""
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
            while piece := os.read(ours, 4096):
                found += piece
        os.close(ours)
        assert command.wait(30) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", found.decode())


async def test_one_dead_letter_is_shown_whole(system: SystemUnderTest) -> None:
    """By its outcome id or its place: why it is there, headers, key, value; as bytes, as JSON."""
    odd = b"\xff\x00\xfe"
    event = upsert("packshots", "a", {"n": "\u202e"})
    await write_letters(
        system, [(b"packshots/a", event, {"x-odd": odd, "\x1b[2J": b"\x07"}), (odd, odd, {})]
    )

    first = run(system, "dead-letters", "show", f"{system.events}/1/0")
    assert first.returncode == 0, first.stderr
    text = first.stdout.decode()
    assert all(c.isprintable() or c == "\n" for c in text)
    for words in (
        f"0/0 of {system.dead_letters}", f"{system.events}/1/0", "packshots/a", "invalid_event",
        SHOWN,
        "x-odd: 0xff00fe", r"\x1b[2J: \x07", "dlq.original.offset: 0", r'"n": "\u202e"',
    ):  # fmt: skip
        assert words in text
    assert run(system, "dead-letters", "show", "0/0").stdout == first.stdout
    assert run(system, "dead-letters", "show", "0/0", "--raw").stdout == event

    assert b"ff 00 fe" in run(system, "dead-letters", "show", "0/1").stdout
    assert run(system, "dead-letters", "show", "0/1", "--raw").stdout == odd
    whole = json.loads(run(system, "dead-letters", "show", "0/1", "--json").stdout)
    assert whole["value_base64"] == whole["key_base64"] == base64.b64encode(odd).decode()
    assert {"name": "dlq.reason", "value": "invalid_event"} in whole["headers"]


@pytest.mark.parametrize("letter_id", ["0/7", "9/0", "nowhere/0/0"])
async def test_a_dead_letter_that_is_not_there(system: SystemUnderTest, letter_id: str) -> None:
    """A sentence, exit 1."""
    await write_letters(system, [(b"k", b"{", {})])
    missing = run(system, "dead-letters", "show", letter_id)

    assert missing.returncode == 1
    assert (
        f"There is no dead letter {letter_id} on {system.dead_letters}.".encode() in missing.stderr
    )


async def test_what_was_left_out_is_listed_and_never_replayed(system: SystemUnderTest) -> None:
    """A dead letter that lacks its value, headers or key is not what came."""
    event = upsert("packshots", "a", {})
    await write_letters(
        system,
        [
            (b"packshots/a", None, {"dlq.value.omitted": b"true"}),
            (b"packshots/a", None, {"dlq.value.omitted": b"true", "dlq.headers.omitted": b"2"}),
            (b"id", None, {"dlq.value.omitted": b"true", "dlq.key.omitted": b"true"}),
            (b"packshots/a", event, {"dlq.headers.omitted": b"2"}),
            (b"id", event, {"dlq.key.omitted": b"true"}),
        ],
    )

    listed = run(system, "dead-letters", "list").stdout
    assert b"5 dead letters" in listed
    done = run(system, "dead-letters", "replay", "--force", "--include-overtaken")
    assert done.stdout.startswith(b"0 replayed; left out: "), done
    assert await system.read(system.events, 1, seconds=2) == []
    bare = run(system, "dead-letters", "show", "0/0", "--raw")
    assert (bare.returncode, bare.stdout) == (1, b"")
    assert b"has no value" in bare.stderr


async def test_a_record_of_another_program_is_listed_as_unreadable(
    system: SystemUnderTest,
) -> None:
    """Nothing tells where it came from, so no replay takes it."""
    await write_letters(system, [(b"packshots/a", b"{", {"dlq.original.partition": b"-1"})])

    (line, count) = run(system, "dead-letters", "list").stdout.splitlines()
    assert b"0/0  unreadable" in line
    assert count == b"1 dead letter"
    done = run(system, "dead-letters", "replay")
    assert done.stdout == b"0 replayed; left out: 1 unreadable\n"


async def test_a_replay_leaves_a_topic_that_is_gone(system: SystemUnderTest) -> None:
    """Its dead letters are named, and all others are replayed."""
    gone = f"{system.events}-gone"
    event = upsert("packshots", "a", {})
    lost = {"dlq.original.topic": gone.encode()}
    await write_letters(system, [(b"packshots/a", event, lost), (b"packshots/b", event, {})])

    topics = f"{system.events},{gone}"
    done = run(system, "dead-letters", "replay", KAFKA__EVENTS_TOPICS=topics)
    assert (done.returncode, done.stdout) == (1, b"1 replayed\n")
    assert done.stderr.decode() == (
        f"{gone}/1/0: its original topic or partition no longer exists\n"
    )


def answered_on_a_terminal(
    system: SystemUnderTest, answer: bytes, *words: str
) -> tuple[int, bytes]:
    """Return exit code and stdout of a command whose question is answered on a terminal."""
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    with start_command(system, *words, given=theirs) as command:
        os.close(theirs)
        out, _ = command.communicate(timeout=60)
    os.close(ours)
    return command.returncode, out


async def test_everything_is_replayed_only_when_somebody_agrees(system: SystemUnderTest) -> None:
    """On a terminal without any filter; --yes and a filter need no answer."""
    await bury(system, 4)
    words = ("dead-letters", "replay")
    refused = await asyncio.to_thread(answered_on_a_terminal, system, b"n\n", *words)
    assert refused == (1, b"")
    filtered = ("--asset", "f/1")
    code, out = await asyncio.to_thread(answered_on_a_terminal, system, b"", *words, *filtered)
    assert (code, out.startswith(b"1 replayed")) == (0, True)
    code, out = await asyncio.to_thread(answered_on_a_terminal, system, b"y\n", *words)
    assert (code, out.startswith(b"3 replayed; left out: 1 replayed")) == (0, True)
    await bury(system, 1)
    code, out = await asyncio.to_thread(answered_on_a_terminal, system, b"", *words, "--yes")
    assert (code, out.startswith(b"1 replayed")) == (0, True)


def is_asleep(pid: int) -> bool:
    """Return whether the kernel has put the main thread to sleep, as while it waits for input.

    A signal just before Python's read begins is noticed only when the read ends.
    """
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] == "S"


async def test_ctrl_c_answers_the_question(system: SystemUnderTest) -> None:
    """At once: nobody has to press Enter first."""
    await bury(system, 4)
    ours, theirs = pty.openpty()
    asking = start_command(system, "dead-letters", "replay", given=theirs)
    os.close(theirs)
    try:
        assert asking.stderr is not None
        asked = await asyncio.to_thread(asking.stderr.read, len("Replay all 4 dead letters?"))
        assert asked == b"Replay all 4 dead letters?"
        await until(lambda: is_asleep(asking.pid))
        asking.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(asking.wait, 10) == -signal.SIGINT
    finally:
        asking.kill()
        asking.communicate()
        os.close(ours)
    assert await system.read(system.events, 1, seconds=0.5) == []


async def test_a_change_that_was_overtaken_stays(system: SystemUnderTest) -> None:
    """Replayed it would undo what came later; unless somebody wants just that."""
    system.pim.faults.add(Fault(status=422, body="json", asset="a", times=None))
    await system.publish([(0, b"packshots/a", upsert("packshots", "a", {"n": "old"}))])
    system.start()
    assert (await system.outcome_data(1))[0]["data"]["status"] == "rejected", system.logs()
    system.pim.faults.clear()
    await system.publish([(0, b"packshots/a", upsert("packshots", "a", {"n": "new"}))])
    assert len(await system.outcome_data(2)) == 2

    kept = await aside(system, "dead-letters", "replay")
    assert b"0 replayed; left out: 1 overtaken (--include-overtaken)" in kept.stdout, kept
    forced = await aside(system, "dead-letters", "replay", "--include-overtaken")
    assert b"1 replayed" in forced.stdout


async def test_a_replay_that_is_killed_is_gone_on_with(system: SystemUnderTest) -> None:
    """Each once: what the killed run had committed, and the rest by the next."""
    count = 20_000
    await bury(system, count)
    killed = start_command(system, "dead-letters", "replay")
    await first_replay(system)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL, "it was still at work"
    before = len(await system.read(system.events, count, seconds=3))

    done = run(system, "dead-letters", "replay")
    assert done.returncode == 0, done.stderr
    told = done.stdout.decode()
    assert told.startswith(f"{count - before} replayed; left out: {before} replayed"), told
    replayed = await system.read(system.events, count)
    assert 0 < before < count
    assert Counter(headers["replay.of"] for _, _, headers in replayed) == Counter(
        f"{system.events}/{number % 3}/{number}".encode() for number in range(count)
    )
    assert all(headers["traceparent"] for _, _, headers in replayed)
    assert not any(name.startswith("dlq.") for _, _, headers in replayed for name in headers)


async def test_the_second_replay_takes_over(system: SystemUnderTest) -> None:
    """The first is fenced; together they replay each dead letter once."""
    count = 20_000
    await bury(system, count)
    first = start_command(system, "dead-letters", "replay")
    await first_replay(system)
    first.send_signal(signal.SIGSTOP)
    second = run(system, "dead-letters", "replay")
    first.send_signal(signal.SIGCONT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 1, said
    assert b"Another replay run has taken over" in said
    assert second.returncode == 0, second.stderr
    replayed = await system.read(system.events, count)
    assert len({headers["replay.of"] for _, _, headers in replayed}) == len(replayed) == count
