"""A real Prometheus that scrapes replicas every second and evaluates the chart's alerts."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from service.playground.embedded_kafka import free_ports
from service.playground.local_system import LoggedProcess

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / ".cache" / "chart-tools" / "bin" / "prometheus"
ALERTS = ROOT / "deploy" / "helm" / "asset-sync" / "files" / "alerts.yaml"
NAMESPACE, JOB = "bridges", "asset-sync"
WAIT_SECONDS_MAX = 400.0
SCRAPE_SECONDS = 1
LOOK_SECONDS = 0.5

Series = dict[str, Any]
"""A sample as the HTTP API shows it: `metric` has the labels, `value` a time and a text."""


class Prometheus:
    """The HTTP API of a running Prometheus."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def query(self, expression: str) -> list[Series]:
        """Return the present samples of an expression."""
        data = await self._get("query", {"query": expression})
        assert data["resultType"] == "vector", expression
        samples: list[Series] = data["result"]
        return samples

    async def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        alerts = (await self._get("alerts"))["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    async def until_fires(self, *names: str) -> None:
        """Wait until all these alerts fire."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS_MAX
        while not (firing := await self.firing()) >= set(names):
            assert asyncio.get_running_loop().time() < deadline, f"{names} not in {firing}"
            await asyncio.sleep(LOOK_SECONDS)

    async def until_ends(self, *names: str) -> None:
        """Wait until none of these alerts fires."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS_MAX
        while still := (await self.firing()) & set(names):
            assert asyncio.get_running_loop().time() < deadline, f"{still} still fire"
            await asyncio.sleep(LOOK_SECONDS)

    async def _get(self, path: str, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
        async with self._session.get(f"{self._url}/api/v1/{path}", params=parameters) as answer:
            content = await answer.json()
        assert content["status"] == "success", content
        data: dict[str, Any] = content["data"]
        return data


def with_short_minutes(text: str, seconds_of_minute: int) -> str:
    """Return rules whose windows take so many seconds for each of their minutes.

    So does the time for which a process counts as young: an alert about what it has counted since
    its start would not end before.
    """
    minutes = {"m": 1, "h": 60, "d": 1440}
    text = re.sub(
        r"(process_start_time_seconds < )(\d+)",
        lambda one: f"{one[1]}{int(one[2]) * seconds_of_minute // 60}",
        text,
    )
    return re.sub(
        r"(\[|for: )(\d+)([mhd])\b",
        lambda one: f"{one[1]}{int(one[2]) * minutes[one[3]] * seconds_of_minute}s",
        text,
    )


@asynccontextmanager
async def running_prometheus(
    folder: Path, ports: Iterable[int], seconds_of_minute: int = 1
) -> AsyncIterator[Prometheus]:
    """Run Prometheus with replicas on these ports of loopback as its targets.

    A minute of the chart's rules takes so many seconds.
    """
    rules = folder / "alerts.yaml"
    rules.write_text(with_short_minutes(ALERTS.read_text(), seconds_of_minute))
    config = folder / "prometheus.yaml"
    period = f"{SCRAPE_SECONDS}s"
    targets = [f"127.0.0.1:{port}" for port in ports]
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": period, "evaluation_interval": period},
                "rule_files": [str(rules)],
                "scrape_configs": [
                    {
                        "job_name": JOB,
                        "static_configs": [
                            {"targets": targets, "labels": {"namespace": NAMESPACE}}
                        ],
                    }
                ],
            }
        )
    )
    (port,) = free_ports(1)
    command = [
        str(PROGRAM), f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    process = LoggedProcess(command, {}, folder / "prometheus.log")
    try:
        async with aiohttp.ClientSession(trust_env=False) as session:
            url = f"http://127.0.0.1:{port}"
            await _until_it_answers(session, url, process)
            yield Prometheus(url, session)
    finally:
        process.kill()
        process.wait()


async def _until_it_answers(
    session: aiohttp.ClientSession, url: str, process: LoggedProcess
) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            assert process.poll() is None, process.log.read_text()
            try:
                async with session.get(f"{url}/-/ready") as answer:
                    if answer.ok:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
