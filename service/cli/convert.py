"""The command `asset-sync convert`: show what the service would do with events."""

import sys
from pathlib import Path
from typing import BinaryIO, NoReturn

import click
import msgspec

from service.cli.lines import InputError, judge, lines_while_shown
from service.cli.mapped_lines import convert_mapped, print_collisions
from service.cli.mapping.inputs import sources_file as read_sources_file
from service.cli.options import stop
from service.cli.output import json_text, say
from service.core.limits import DecodeLimits
from service.core.model import Command, Rejection, UpsertAsset
from service.core.read.value_forms import taken_apart

LIMITS = DecodeLimits(1024**2)


@click.command(
    epilog="""\b
Examples:
  asset-sync convert events.jsonl
  asset-sync convert events.jsonl | jq -c 'select(.status == "rejected")'
  jq -c '.[]' array.json | asset-sync convert -
  asset-sync convert notifications.jsonl --source cloudinary
  asset-sync convert notifications.jsonl --source cloudinary --collisions
"""
)
@click.argument("file", type=click.File("rb"))
@click.option(
    "--source", metavar="NAME", help="Map the events by this source of the sources file first."
)
@click.option(
    "--sources-file",
    type=click.Path(path_type=Path),
    help="The sources file; default: ASSET_SYNC_SOURCES_FILE, or sources.yaml.",
)
@click.option(
    "--collisions",
    is_flag=True,
    help="Only list assets that several identities of the DAM share, case aside.",
)
def convert(
    *, file: BinaryIO, source: str | None, sources_file: Path | None, collisions: bool
) -> None:
    """Show what the service would do with each event of FILE. Nothing is sent.

    FILE has one event per line (JSON Lines); - reads standard input. A line is a structured
    CloudEvent, or plain JSON with an "action". Kafka and the PIM are not asked: whether the PIM
    knows a family or an attribute shows only when the event is applied. Settings are read only
    with --source, to find the sources file.

    With --source, a line is an event as the DAM sends it. An event may become several changes,
    numbered by "part"; one that needs to be read back from the DAM shows the URL instead.

    Prints one JSON object per event or change, with the number of its line. The exit code is 1 if
    one would be rejected, or if assets collide. If nobody reads on (`| head`), a file is still
    read to its end, a pipe is not.
    """
    if source is not None:
        _convert_mapped(file, source, sources_file, collisions=collisions)
    if collisions or sources_file is not None:
        raise click.UsageError("--collisions and --sources-file need --source.")
    is_all_accepted = True
    try:
        for line in lines_while_shown(file):
            command = judge(line, LIMITS).command
            is_all_accepted = is_all_accepted and not (
                isinstance(command, Rejection) and command.status == "rejected"
            )
            shown = {"line": line.number} | _members(command)
            say(json_text(msgspec.json.encode(shown)))
    except InputError as error:
        stop(str(error))
    sys.exit(0 if is_all_accepted else 1)


def _convert_mapped(
    file: BinaryIO, source: str, sources_file: Path | None, *, collisions: bool
) -> NoReturn:
    _, loaded = read_sources_file(sources_file)
    if source not in loaded.sources:
        stop(f"The file has no source {source}. It has {', '.join(loaded.sources)}.", 2)
    if collisions:
        print_collisions(file, loaded, source)
    convert_mapped(file, loaded, source, LIMITS)


def _members(command: Command | Rejection) -> dict[str, object]:
    if isinstance(command, Rejection):
        return {"status": command.status, "reason": command.reason, "message": command.message}
    family, code = command.asset
    asset: dict[str, object] = {"asset_family": family, "code": code}
    if isinstance(command, UpsertAsset):
        return asset | {"action": "upsert", "values": taken_apart(command.values)}
    return asset | {"action": "delete"}
