"""`make chaos-webhooks`: kill ingress and the broker while webhooks come; exit 1 on any flaw.

Each webhook is sent until it is answered with 200, as a DAM does. Then the raw topic has to hold
every one of them, nothing that was not sent, and none more often than it was sent.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from service.adapters.kafka.options import quieten_aiokafka
from service.playground.embedded_kafka import EmbeddedKafka, embedded_kafka
from tests.support.ingress import IngressUnderTest, Load, connections, flaws_of

SENDERS = 50
AWAY_SECONDS_MAX = 14.0
"""How long the broker is away at most: longer than a request waits for its record (10 s)."""
PAUSE_SECONDS = 0.5
"""How long a sender waits before it sends a webhook again."""
LOOK_SECONDS = 0.02

Victim = Literal["ingress", "broker", "both"]


@dataclass(frozen=True)
class Kill:
    """A SIGKILL, as soon as so many webhooks are accepted."""

    accepted: int
    victim: Victim
    away_seconds: float
    """How long the broker stays away; ingress starts again at once."""


def plan(seed: int, requests: int, kills: int) -> list[Kill]:
    """Return kills all over the run, each kind about as often: the same for the same seed."""
    chance = random.Random(seed)
    victims: list[Victim] = []
    planned = []
    for number in range(kills):
        if not victims:
            victims = list(get_args(Victim))
            chance.shuffle(victims)
        accepted = int((number + chance.random()) * requests / kills)
        planned.append(Kill(accepted, victims.pop(), chance.uniform(0.0, AWAY_SECONDS_MAX)))
    return planned


@dataclass
class Chaos:
    """A broker, one ingress at a time, and the senders."""

    broker: EmbeddedKafka
    ingress: IngressUnderTest
    load: Load

    async def start(self) -> None:
        """Start ingress, and tell the senders where it listens."""
        self.ingress.start()
        self.load.url = await self.ingress.url()

    async def suffer(self, kills: list[Kill]) -> None:
        """Kill as planned."""
        began = time.monotonic()
        for kill in kills:
            while len(self.load.accepted) < kill.accepted:  # noqa: ASYNC110 - the senders know no event
                await asyncio.sleep(LOOK_SECONDS)
            away = "" if kill.victim == "ingress" else f", away for {kill.away_seconds:.1f} s"
            at = f"{time.monotonic() - began:6.1f} s  {len(self.load.accepted):7,} accepted"
            _say(f"{at}  kill -9 {kill.victim}{away}")
            await self._suffer(kill)

    async def _suffer(self, kill: Kill) -> None:
        process = self.ingress.processes[-1]
        if kill.victim != "broker":
            process.kill()
            process.wait()
        if kill.victim != "ingress":
            self.broker.kill()
            await asyncio.sleep(kill.away_seconds)
            await asyncio.to_thread(self.broker.start)
        if kill.victim != "broker":
            await self.start()

    async def deliver(self, requests: int, kills: list[Kill]) -> None:
        """Send so many webhooks, each until it is accepted, and kill meanwhile."""
        numbers = iter(range(requests))
        async with connections() as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(self.suffer(kills))
            for _ in range(SENDERS):
                tasks.create_task(self.load.send_until_accepted(session, numbers))


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos-webhooks", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="webhooks to send (100000)")
    parser.add_argument("--kills", type=int, default=12, help="how often something is killed (12)")
    parser.add_argument("--seed", type=int, default=None, help="seed of the kills (from the clock)")
    parser.add_argument("--log", type=Path, help="a file for the logs of ingress")
    wanted = parser.parse_args()
    quieten_aiokafka(entirely=True)
    seed = wanted.seed if wanted.seed is not None else int(time.time())
    _say(f"seed {seed}: {wanted.requests:,} webhooks, {wanted.kills} kills")
    kills = plan(seed, wanted.requests, wanted.kills)
    with embedded_kafka() as broker, tempfile.TemporaryDirectory() as folder:
        ingress = IngressUnderTest(broker.bootstrap_servers, Path(folder))
        try:
            return asyncio.run(
                _run(
                    Chaos(broker, ingress, Load(pause_seconds=PAUSE_SECONDS)),
                    wanted.requests,
                    kills,
                )
            )
        finally:
            ingress.end()
            if wanted.log:
                wanted.log.write_text(ingress.logs())


async def _run(chaos: Chaos, requests: int, kills: list[Kill]) -> int:
    ingress, load = chaos.ingress, chaos.load
    await ingress.create_topics()
    await chaos.start()
    began = time.monotonic()
    await chaos.deliver(requests, kills)
    seconds = time.monotonic() - began
    written = Counter(record.value for record in await ingress.records(ingress.topic))
    flaws = flaws_of(load, written)
    _say(f"  {'sent, with those sent again':<32} {load.sent.total():,} in {seconds:.0f} s")
    for answer, number in sorted(load.answers.items()):
        _say(f"  {'answered ' + answer:<32} {number:,}")
    _say(f"  {'records':<32} {written.total():,}")
    _say(f"  {'records of a webhook sent again':<32} {written.total() - len(written):,}")
    for promise, events in flaws.items():
        _say(f"  FLAW {len(events):,} {promise}: {sorted(events)[:5]}")
    _say("every promise held" if not flaws else "promises were broken")
    return 1 if flaws else 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the output of the command


if __name__ == "__main__":
    sys.exit(main())
