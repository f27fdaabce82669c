"""Kafka and the PIM simulator, at an address that pods reach too."""

import asyncio
import sys
from pathlib import Path

from aiohttp import web

from service.playground.embedded_kafka import EmbeddedKafka
from service.playground.pim.server import application
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import Structure, free, sample

FAMILIES = ("packshots", "manuals", "ambient", "videos")
"""Families that accept any value."""
FAMILY_WITH_FILES = "posters"
LISTENERS = """
listeners=PLAINTEXT://0.0.0.0:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{address}:{port}
"""


class ReachableKafka(EmbeddedKafka):
    """A broker that listens on every address of its network, and tells clients one of them."""

    def __init__(self, folder: Path, classpath: str, java: Path, address: str) -> None:
        super().__init__(folder, classpath, java)
        self.bootstrap_servers = f"{address}:{self._port}"
        with self._properties.open("a") as properties:
            properties.write(
                LISTENERS.format(port=self._port, controller=self._controller, address=address)
            )


async def serve_pim(address: str, port: int) -> None:
    """Serve a PIM until the process ends."""
    with_files = {FAMILY_WITH_FILES: sample().families["packshots"]}
    pim = PimSimulator(Structure(free(*FAMILIES).families | with_files))
    runner = web.AppRunner(application(pim), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_pim(sys.argv[1], int(sys.argv[2])))
