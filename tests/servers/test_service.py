"""The service behind nginx at its defaults: bodies above 1 MiB never reach the PIM."""

from pathlib import Path

import pytest

from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.servers.programs import Site, free_port, nginx, running
from tests.support.proof import upsert
from tests.support.service import Input, bench_around

pytestmark = [pytest.mark.kafka, pytest.mark.processes, pytest.mark.servers]


async def test_batches_that_nginx_refuses_are_halved_until_they_fit(
    bootstrap: str, tmp_path: Path
) -> None:
    """An asset too large by its merged changes gets them one by one; nothing is suspected."""
    pim = PimSimulator(free("packshots", "manuals"))
    async with bench_around(bootstrap, tmp_path, pim) as bench:
        upstream = int(bench.pim_url.rpartition(":")[2])
        site = Site(tmp_path, upstream, free_port(), free_port())
        command = nginx(site)
        config = tmp_path / "nginx.conf"
        lines = config.read_text().splitlines()
        config.write_text("\n".join(line for line in lines if "ssl" not in line))
        async with running(command, site.plain):
            records: list[Input] = [
                (0, None, upsert("packshots", "heavy", {f"note{part}": "x" * 700_000}))
                for part in range(3)
            ]
            records += [
                (0, None, upsert("packshots", f"a{number}", {"note": "x" * 400_000}))
                for number in range(10)
            ]
            records += [
                (0, None, upsert("manuals", f"m{number}", {"note": "x"})) for number in range(20)
            ]
            await bench.publish(records)
            bench.start(PIM__BASE_URL=f"http://127.0.0.1:{site.plain}", STRUCTURE__VALIDATE="false")
            data = [outcome["data"] for outcome in await bench.outcome_data(len(records))]

    assert {one["status"] for one in data} == {"applied"}
    assert (tmp_path / "nginx.log").read_text().count("too large body") > 3
    assert "breaker.opened" not in bench.logs()
    assert "call.suspected" not in bench.logs()
