"""The service with a consumer that will not be closed and heeds no cancellation.

aiokafka's has done so while its broker was away.
"""

import asyncio
import contextlib
import sys

from service.adapters.kafka.consumer import Consumer
from service.cli import main


async def never(_: Consumer) -> None:
    """Close it."""
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


if __name__ == "__main__":
    setattr(Consumer, "close", never)  # noqa: B010 - another one on purpose
    sys.argv = ["asset-sync", "run"]
    main()
