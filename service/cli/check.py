"""The command `asset-sync check`: print findings about settings, Kafka, the PIM and the sources."""

import asyncio
import sys

import click
from rich.text import Text

from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.akeneo.check_mapping import check_mapping
from service.adapters.akeneo.check_pim import check_pim
from service.adapters.kafka.aiokafka_gaps.permissions import needs_of_ingress, needs_of_translate
from service.adapters.kafka.options import quieten_aiokafka
from service.adapters.kafka.tools.check_kafka import check_kafka
from service.adapters.kafka.tools.check_programs import check_ingress, check_translate
from service.adapters.readback.check_hosts import check_hosts
from service.apps.source import kafka_of
from service.apps.sources import (
    load_sources,
    reader_of,
    secrets_of_webhooks,
    selected_sources,
    topics_of_webhooks,
)
from service.cli.options import stop
from service.cli.output import console, shown
from service.mapping.file.load import Loaded as SourcesFile
from service.mapping.pim_names import uses_of
from service.ports import Finding
from service.settings import Loaded, Settings, SettingsError, load

NEEDED_BY_INGRESS = "`asset-sync ingress` does not start without it; other programs do."
STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command()
def check() -> None:
    """Check the settings, Kafka access, PIM access and the sources file. Changes nothing.

    With ASSET_SYNC_SOURCES_FILE, it also runs the tests of that file, looks for the families,
    attributes, locales, channels and options that it names in the PIM, and asks each of its hosts.

    Prints one line per finding: ok, warning or failed, with what to do. The exit code is 1 if
    something failed, 2 if the settings cannot be read.
    """
    try:
        quieten_aiokafka(entirely=True)  # the command prints each error itself, once
        findings = asyncio.run(_findings(load()))
    except SettingsError as error:
        stop(f"The settings cannot be used:\n{error}", 2)
    out = console()
    for finding in findings:
        grade = Text(f"{finding.grade:<8}", STYLES[finding.grade])
        out.print(grade + Text(shown(finding.message)))
        if finding.remedy:
            out.print(f"        → {shown(finding.remedy)}")
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
            *await _sources(loaded, api),
        ]
    finally:
        await api.close()


async def _sources(loaded: Loaded, api: HttpAssetApi) -> list[Finding]:
    """Return the findings about the sources file, if the settings name one."""
    path, settings = loaded.settings.sources_file, loaded.settings
    if path is None:
        return []
    try:
        file = load_sources(settings)
    except SettingsError as error:
        remedy = f"Correct it; `asset-sync mapping test {path}` checks it alone."
        return [Finding("failed", line, remedy) for line in str(error).splitlines()]
    unreadable = loaded.secrets.unreadable(secrets_of_webhooks(file.model))
    uses = [
        use
        for name, source in file.model.sources.items()
        for use in uses_of(name, source, file.model.tables)
    ]
    return [
        Finding("ok", f"The sources file {path}: {_counted(file)}."),
        *(Finding("warning", flaw, NEEDED_BY_INGRESS) for flaw in unreadable),
        *await _kafka_of_programs(settings, file),
        *await check_mapping(api, uses, file.merged.locate, settings.structure),
        *await check_hosts(file.model.hosts, reader_of(loaded.secrets)),
    ]


async def _kafka_of_programs(settings: Settings, file: SourcesFile) -> list[Finding]:
    """Return the findings about what translate and ingress need of Kafka."""
    sources = [
        kafka_of(settings.kafka, name, file.model.sources[name])
        for name in selected_sources(file, settings)
    ]
    raw_topics = [topic for source in sources for topic in source.events_topic_names]
    needs = needs_of_translate(raw_topics, settings.translate_topic)
    found = await check_translate(settings.kafka, needs, sources)
    if written := topics_of_webhooks(file.model):
        found += await check_ingress(settings.kafka, needs_of_ingress(written))
    return found


def _counted(file: SourcesFile) -> str:
    sources = len(file.sources)
    tests = sum(len(source.tests) for source in file.model.sources.values())
    return (
        f"{sources} source{'' if sources == 1 else 's'}, "
        f"{tests} test{'' if tests == 1 else 's'}: all pass"
    )
