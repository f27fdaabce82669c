"""Dead letters on a real broker: listed, replayed once, also when the replay is killed."""

import asyncio
import json
import signal
from collections import Counter

import pytest
from aiokafka import AIOKafkaProducer

from service.playground.pim.faults import Fault
from tests.support.proof import upsert
from tests.support.service import Bench, Input, aside, run, start_command

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


def bad(code: str) -> Input:
    """An event that is rejected: its family is not there."""
    return 0, f"nowhere/{code}".encode(), upsert("nowhere", code, {"n": "1"})


async def bury(bench: Bench, count: int) -> None:
    """Dead letters as the service writes them, quickly."""
    producer = AIOKafkaProducer(bootstrap_servers=bench.bootstrap, linger_ms=20)
    await producer.start()
    sent = []
    for number in range(count):
        ours = {
            "traceparent": f"t{number}",
            "dlq.original.topic": bench.events,
            "dlq.original.partition": str(number % 3),
            "dlq.original.offset": str(number),
            "dlq.reason": "unknown_family",
            "dlq.outcome.id": f"{bench.events}/{number % 3}/{number}",
        }
        headers = [(name, text.encode()) for name, text in ours.items()]
        key, value = f"f/{number}".encode(), upsert("f", str(number), {})
        sent.append(await producer.send(bench.dead, value, key=key, headers=headers))
    await asyncio.gather(*sent)
    await producer.stop()


async def first_replay(bench: Bench) -> None:
    """Wait until something was written back."""
    for _ in range(100):
        if await bench.read(bench.events, 1, seconds=0.3):
            return
    raise AssertionError("nothing is replayed")


async def test_what_was_rejected_is_listed_and_replayed_once(bench: Bench) -> None:
    """A family that was missing is there now: its changes go in again and are applied."""
    await bench.publish([bad("a"), bad("b"), (1, None, b"{"), (1, None, b"")])
    replica = bench.start()
    assert len(await bench.outcome_data(4)) == 4, bench.logs()

    listed = await aside(bench, "dead-letters", "list", "--reason", "unknown_family", "--json")
    letters = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [letter["code"] for letter in letters] == ["a", "b"], listed
    table = (await aside(bench, "dead-letters", "list")).stdout.decode()
    assert "nowhere/a" in table
    assert "undecodable" in table
    assert "4 dead letters" in table

    bench.pim.structure.families["nowhere"] = bench.pim.structure.families["packshots"]
    dry = await aside(bench, "dead-letters", "replay", "--family", "nowhere", "--dry-run")
    assert b"2 would be replayed" in dry.stdout, dry
    done = await aside(bench, "dead-letters", "replay", "--family", "nowhere")
    assert done.returncode == 0, done.stderr
    assert b"2 replayed" in done.stdout
    again = await aside(bench, "dead-letters", "replay", "--family", "nowhere")
    assert b"0 replayed; left out: 2 replayed" in again.stdout

    outcomes = await bench.outcome_data(6)
    applied = [o["data"] for o in outcomes if o["data"]["status"] == "applied"]
    assert {data["replay_of"] for data in applied} == {f"{bench.events}/0/{n}" for n in (0, 1)}
    left = await aside(bench, "dead-letters", "list")
    assert b"2 dead letters" in left.stdout
    replica.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(replica.wait, 20) == 0


async def test_a_change_that_was_overtaken_stays(bench: Bench) -> None:
    """Replayed it would undo what came later; unless somebody wants just that."""
    bench.pim.faults.add(Fault(status=422, body="json", asset="a", times=None))
    await bench.publish([(0, b"packshots/a", upsert("packshots", "a", {"n": "old"}))])
    bench.start()
    assert (await bench.outcome_data(1))[0]["data"]["status"] == "rejected", bench.logs()
    bench.pim.faults.clear()
    await bench.publish([(0, b"packshots/a", upsert("packshots", "a", {"n": "new"}))])
    assert len(await bench.outcome_data(2)) == 2

    kept = await aside(bench, "dead-letters", "replay")
    assert b"0 replayed; left out: 1 overtaken (--include-overtaken)" in kept.stdout, kept
    forced = await aside(bench, "dead-letters", "replay", "--include-overtaken")
    assert b"1 replayed" in forced.stdout


async def test_a_replay_that_is_killed_is_gone_on_with(bench: Bench) -> None:
    """Each once: what the killed run had committed, and the rest by the next."""
    count = 20_000
    await bury(bench, count)
    killed = start_command(bench, "dead-letters", "replay")
    await first_replay(bench)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL, "it was still at work"
    before = len(await bench.read(bench.events, count, seconds=3))

    done = run(bench, "dead-letters", "replay")
    assert done.returncode == 0, done.stderr
    told = done.stdout.decode()
    assert told.startswith(f"{count - before} replayed; left out: {before} replayed"), told
    replayed = await bench.read(bench.events, count)
    assert 0 < before < count
    assert Counter(headers["replay.of"] for _, _, headers in replayed) == Counter(
        f"{bench.events}/{number % 3}/{number}".encode() for number in range(count)
    )
    assert all(headers["traceparent"] for _, _, headers in replayed)
    assert not any(name.startswith("dlq.") for _, _, headers in replayed for name in headers)


async def test_the_second_replay_takes_over(bench: Bench) -> None:
    """The first is fenced; together they replay each dead letter once."""
    count = 20_000
    await bury(bench, count)
    first = start_command(bench, "dead-letters", "replay")
    await first_replay(bench)
    first.send_signal(signal.SIGSTOP)
    second = run(bench, "dead-letters", "replay")
    first.send_signal(signal.SIGCONT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 1, said
    assert b"Another replay run has taken over" in said
    assert second.returncode == 0, second.stderr
    replayed = await bench.read(bench.events, count)
    assert len({headers["replay.of"] for _, _, headers in replayed}) == len(replayed) == count
