"""Runs a program that kills itself inside a transaction: `python -m … MOMENT NUMBER COMMAND`.

The process sends itself SIGKILL in its transaction NUMBER or soon after, at the MOMENT `begun`,
`sent` (all records are sent, but not the offsets), `offsets` or `committed`.
"""

import os
import signal
import sys
from typing import Any

from service.adapters.kafka.aiokafka_gaps.fencing_producer import FencingProducer
from service.cli import main

AFTER = {
    "begun": "begin_transaction",
    "offsets": "send_offsets",
    "committed": "commit_transaction",
}
BEFORE = {"sent": "send_offsets"}


def doom(moment: str, number: int) -> None:
    """Let the process kill itself at this moment of its transaction with this number."""
    begun = 0

    def wrap(name: str) -> None:
        stock = getattr(FencingProducer, name)

        async def step(producer: Any, *given: Any) -> Any:  # noqa: ANN401 - aiokafka's
            nonlocal begun
            begun += name == "begin_transaction"
            is_last = begun >= number  # with two producers, neither may see the number itself
            if is_last and BEFORE.get(moment) == name:
                os.kill(os.getpid(), signal.SIGKILL)
            done = await stock(producer, *given)
            if is_last and AFTER.get(moment) == name:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        setattr(FencingProducer, name, step)

    for name in AFTER.values():
        wrap(name)


if __name__ == "__main__":
    doom(sys.argv[1], int(sys.argv[2]))
    sys.argv = ["asset-sync", sys.argv[3]]
    main()
