"""Runs the service with a consumer that never closes and ignores its cancellation.

The consumer of aiokafka has done so while its broker was away.
"""

import asyncio
import contextlib
import sys

from service.adapters.kafka.consumer import Consumer
from service.cli import main


async def never(_: Consumer) -> None:
    """Replace `Consumer.close`, and never return."""
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


if __name__ == "__main__":
    setattr(Consumer, "close", never)  # noqa: B010 - mypy forbids the assignment
    sys.argv = ["asset-sync", "run"]
    main()
