"""`asset-sync check`."""

import asyncio
import sys

import click
from rich.console import Console

from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.akeneo.check import check_pim
from service.adapters.kafka.check import check_kafka
from service.adapters.kafka.options import quieten_aiokafka
from service.cli.options import stop
from service.ports import Finding
from service.settings import Loaded, SettingsError, load

STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command()
def check() -> None:
    """Look whether Kafka, the PIM and the settings are as the service needs them.

    A line each: ok, warning or failed, with the remedy. Nothing is written, nothing changed.
    Exit code 1 where something failed, 2 where the settings cannot be read.
    """
    try:
        quieten_aiokafka(entirely=True)  # errors are said once, by us
        findings = asyncio.run(_findings(load()))
    except SettingsError as error:
        stop(f"The settings cannot be used:\n{error}", 2)
    console = Console(highlight=False)
    for finding in findings:
        style = STYLES[finding.grade]
        console.print(f"[{style}]{finding.grade:<8}[/{style}]", end="")
        console.print(finding.message, markup=False)
        if finding.remedy:
            console.print(f"        → {finding.remedy}", markup=False)
    sys.exit(1 if any(finding.grade == "failed" for finding in findings) else 0)


async def _findings(loaded: Loaded) -> list[Finding]:
    settings = loaded.settings
    sources = ", ".join(loaded.sources)
    api = HttpAssetApi(settings.pim, loaded.credentials)
    try:
        return [
            Finding("ok", f"The settings come from: {sources}."),
            *(Finding("warning", warning) for warning in loaded.warnings),
            *await check_kafka(settings.kafka),
            *await check_pim(api, settings.pim),
        ]
    finally:
        await api.close()
