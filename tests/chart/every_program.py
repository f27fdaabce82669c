"""All four programs on one broker, with traffic for each of them."""

import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import aiohttp
from aiohttp import web

from service.playground.embedded_kafka import free_ports
from service.playground.local_system import LoggedProcess, address
from service.playground.pim.server import served
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import Structure, free, sample
from tests.support.ingress import SECRET, signed
from tests.support.media import Source, say, serving
from tests.support.proof import upsert
from tests.support.raw import Dam, RawSystem, bucket_records, dam_served, thin_records

PROGRAMS = ("run", "translate", "ingress", "console")
HOOKS = """\
  hooks:
    topics: [raw.hooks.{suffix}]
    identity: id
    webhook:
      path: /hooks
      verify: {{hmac: {{header: X-Signature, secret: hook_secret, prefix: "sha256="}}}}
    family: {{const: packshots}}
    code: id
    rules: [{{do: upsert}}]
"""
"""A third source, whose events come as webhooks."""
FAMILY_WITH_FILES = "ambient"
SEARCHES = ("", "code=a1_1", "code=a&begins=1", "id=e1", "ending=problems")


@dataclass
class EveryProgram(RawSystem):
    """One replica of each program, and a host of media files."""

    files: Source = field(kw_only=True)
    ports: tuple[int, ...] = field(default_factory=lambda: tuple(free_ports(len(PROGRAMS))))
    """The ports for metrics, in the order of `PROGRAMS`."""
    running: dict[str, LoggedProcess] = field(default_factory=dict)
    """The newest replica of each program."""

    @property
    def raw_topics(self) -> dict[str, str]:
        return super().raw_topics | {"hooks": f"raw.hooks.{self.suffix}"}

    async def create_topics(self) -> None:
        await super().create_topics()
        self.write_sources(self.sources_file.read_text() + HOOKS.format(suffix=self.suffix))
        self.secret_file.parent.mkdir()
        self.secret_file.write_text(SECRET)

    @property
    def secret_file(self) -> Path:
        """The file with the secret of the webhooks."""
        return self.folder / "secrets" / "hook_secret"

    @property
    def index(self) -> Path:
        """The folder of the console's index."""
        return self.folder / "index"

    def settings(self) -> dict[str, str]:
        """Return the settings of all programs."""
        return super().settings() | {
            "SECRETS_DIR": str(self.secret_file.parent),
            "INGRESS__HOST": "127.0.0.1",
            "INGRESS__PORT": "0",
            "CONSOLE__HOST": "127.0.0.1",
            "CONSOLE__PORT": "0",
            "CONSOLE__DIR": str(self.index),
            "MEDIA__PRIVATE_HOSTS": "localhost",
            "MEDIA__DIR": str(self.folder / "media"),
        }

    async def start_all(self, **settings: str) -> None:
        """Start a replica of each program, and wait until all are ready."""
        for program in PROGRAMS:
            self.start_again(program, **settings)
        for number in range(len(PROGRAMS)):
            await self.until_ready(number)

    def start_again(self, program: str, **settings: str) -> None:
        """Start a replica of a program at the port of the last one, which must have ended."""
        port = self.ports[PROGRAMS.index(program)]
        self.running[program] = self.start_program(program, HTTP__PORT=str(port), **settings)

    async def send_webhooks(self, *secrets: str) -> set[int]:
        """Send a webhook signed with each of these secrets; return the statuses of the answers."""
        body = json.dumps({"id": "hooked"}).encode()
        url = await address(self.running["ingress"], "webhooks.listening") + "/hooks"
        statuses = set()
        async with aiohttp.ClientSession() as session:
            for secret in secrets:
                headers = signed(body, secret)
                async with session.post(url, data=body, headers=headers) as answer:
                    statuses.add(answer.status)
        return statuses

    async def search(self, query: str) -> None:
        """Look at a page of the console."""
        url = await address(self.running["console"], "console.listening")
        async with aiohttp.ClientSession() as session, session.get(f"{url}/?{query}") as answer:
            assert answer.ok, query

    async def give_files(self, *paths: str) -> None:
        """Publish an asset for each path, with the file there."""
        await self.give_files_of(["localhost"], *paths)

    async def give_files_of(self, hosts: Iterable[str], *paths: str) -> None:
        """Publish an asset for each path at each of these hosts, with the file there."""
        port = self.files.url.rpartition(":")[2]
        urls = [f"http://{host}:{port}{path}" for host in hosts for path in paths]
        changes = (
            upsert(FAMILY_WITH_FILES, re.sub(r"\W+", "_", url), {"media": {"url": url}})
            for url in urls
        )
        await self.publish([(0, None, change) for change in changes])

    async def send_all(self, number: int) -> None:
        """Send something of every kind to each program; some of it is wrong."""
        await self.publish_raw("bucket", bucket_records(11, self.partitions))
        await self.publish_raw("thin", thin_records(6, self.partitions))
        await self.send_webhooks(SECRET, SECRET, "another")
        await self.give_files(f"/new{number}.jpg", "/again.jpg", "/gone.jpg")
        for query in SEARCHES:
            await self.search(query)


async def echo(request: web.Request) -> web.StreamResponse:
    """Answer with a file of its own for each path."""
    return web.Response(body=request.path.encode() * 100)


@asynccontextmanager
async def every_program(bootstrap: str, folder: Path) -> AsyncIterator[EveryProgram]:
    """Give a system whose PIM, DAM and host of files serve, and whose topics exist."""
    families = free("packshots", "manuals").families
    families[FAMILY_WITH_FILES] = sample().families[FAMILY_WITH_FILES]
    pim, dam = PimSimulator(Structure(families)), Dam()
    async with (
        serving(echo) as files,
        dam_served(dam) as dam_url,
        served(pim) as url,
        EveryProgram(
            bootstrap, url, pim.tokens, folder, pim=pim, dam=dam, dam_url=dam_url, files=files
        ) as system,
    ):
        files.answers["/gone.jpg"] = say(b"", HTTPStatus.NOT_FOUND)
        yield system
