"""The command `asset-sync check`: print findings about settings, Kafka, the PIM and the sources."""

import asyncio
import sys
from dataclasses import asdict
from typing import NoReturn

import click
from rich.console import Console
from rich.text import Text

from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.akeneo.check_mapping import check_mapping
from service.adapters.akeneo.check_pim import check_pim
from service.adapters.kafka.aiokafka_gaps.permissions import needs_of_ingress, needs_of_translate
from service.adapters.kafka.options import quieten_aiokafka
from service.adapters.kafka.tools.check_kafka import check_kafka
from service.adapters.kafka.tools.check_programs import check_ingress, check_translate
from service.adapters.media.check_hosts import check_media_hosts
from service.adapters.readback.check_hosts import check_hosts
from service.apps.source import kafka_of
from service.apps.sources import (
    flaws_of_webhook_secrets,
    load_sources,
    reader_of,
    selected_sources,
    topics_of_webhooks,
)
from service.cli.check_sandbox import STYLES, check_sandbox, line_of
from service.cli.options import Utf8, stop
from service.cli.output import console, say, shown
from service.mapping.file.load import Loaded as SourcesFile
from service.mapping.pim_names import uses_of
from service.ports import Finding
from service.settings import Loaded, Settings, SettingsError, load

NEEDED_BY_INGRESS = "`asset-sync ingress` does not start without it; other programs do."


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per finding, one per line."
)
@click.option(
    "--sandbox",
    is_flag=True,
    help="Instead, compare a PIM with what is believed of it, by writing test assets to a family.",
)
@click.option("--family", type=Utf8(), metavar="FAMILY", help="The family of --sandbox.")
@click.option("--yes", is_flag=True, help="Do not ask before --sandbox writes.")
def check(*, as_json: bool, sandbox: bool, family: str | None, yes: bool) -> None:
    """Check the settings, Kafka access, PIM access and the sources file. Changes nothing.

    It asks each host in ASSET_SYNC_MEDIA__HOSTS and ASSET_SYNC_MEDIA__PRIVATE_HOSTS for an answer.

    With ASSET_SYNC_SOURCES_FILE, it also runs the tests of that file, looks for the families,
    attributes, locales, channels and options that it names in the PIM, and asks each of its hosts.

    Prints one line per finding: ok, warning or failed, with what to do. The exit code is 1 if
    something failed, 2 if the settings cannot be read.

    With --sandbox it asks the PIM what Akeneo's documents leave open, or what asset-sync relies on,
    in a family for tests: it creates about 220 assets whose codes begin with asset_sync_check_,
    uploads a picture of one pixel, and deletes the assets again. It prints where the PIM differs.
    """
    if sandbox != (family is not None):
        raise click.UsageError("Give --sandbox and --family together.")
    try:
        quieten_aiokafka(entirely=True)  # the command prints each error itself, once
        loaded = load()
        if family is not None:
            sys.exit(check_sandbox(loaded, family, yes=yes, as_json=as_json))
        found = asyncio.run(_findings(loaded))
    except SettingsError as error:
        _stop_by_settings(error, as_json=as_json)
    out = console()
    for part, findings in found:
        for finding in findings:
            if as_json:
                say(line_of({"part": part, **asdict(finding)}))
            else:
                _print(out, finding)
    graded = [finding.grade for _, findings in found for finding in findings]
    sys.exit(1 if "failed" in graded else 0)


def _print(out: Console, finding: Finding) -> None:
    out.print(Text(f"{finding.grade:<8}", STYLES[finding.grade]) + Text(shown(finding.message)))
    if finding.remedy:
        out.print(f"        → {shown(finding.remedy)}")


def _stop_by_settings(error: SettingsError, *, as_json: bool) -> NoReturn:
    if not as_json:
        stop(f"The settings cannot be used:\n{error}", 2)
    for line in str(error).splitlines():
        finding = Finding("failed", line, "Correct the settings.")
        say(line_of({"part": "settings", **asdict(finding)}))
    sys.exit(2)


async def _findings(loaded: Loaded) -> list[tuple[str, list[Finding]]]:
    """Return the findings by the part that they are about."""
    settings = loaded.settings
    sources = ", ".join(loaded.sources)
    api = HttpAssetApi(settings.pim, loaded.credentials)
    try:
        of_settings = [
            Finding("ok", f"The settings come from: {sources}."),
            *(Finding("warning", warning) for warning in loaded.warnings),
        ]
        return [
            ("settings", of_settings),
            ("kafka", await check_kafka(settings.kafka)),
            ("pim", await check_pim(api, settings.pim)),
            ("media", await check_media_hosts(settings.media)),
            ("sources", await _sources(loaded, api)),
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
    flaws = flaws_of_webhook_secrets(file.model, loaded.secrets)
    uses = [
        use
        for name, source in file.model.sources.items()
        for use in uses_of(name, source, file.model.tables)
    ]
    return [
        Finding("ok", f"The sources file {path}: {_counted(file)}."),
        *(Finding("warning", flaw, NEEDED_BY_INGRESS) for flaw in flaws),
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
