"""The command `asset-sync convert`: show what the service would do with events."""

import sys
from typing import BinaryIO

import click
import msgspec

from service.cli.lines import InputError, judge, lines
from service.cli.options import stop
from service.cli.output import json_text, say
from service.core.limits import DecodeLimits
from service.core.model import Command, Rejection, UpsertAsset

LIMITS = DecodeLimits(1024**2)


@click.command(
    epilog="""\b
Examples:
  asset-sync convert events.jsonl
  asset-sync convert events.jsonl | jq -c 'select(.status == "rejected")'
  jq -c '.[]' array.json | asset-sync convert -
"""
)
@click.argument("file", type=click.File("rb"))
def convert(file: BinaryIO) -> None:
    """Show what the service would do with each event of FILE. Nothing is sent.

    FILE has one event per line (JSON Lines); - reads standard input. A line is a structured
    CloudEvent, or plain JSON with an "action". Kafka and the PIM are not asked, and no settings
    are read: whether the PIM knows a family or an attribute shows only when the event is applied.

    Prints one JSON object per event, with the number of its line. The exit code is 1 if an event
    would be rejected.
    """
    is_all_accepted = True
    try:
        for line in lines(file):
            command = judge(line, LIMITS).command
            is_all_accepted = is_all_accepted and not (
                isinstance(command, Rejection) and command.status == "rejected"
            )
            shown = {"line": line.number} | _members(command)
            say(json_text(msgspec.json.encode(shown)))
    except InputError as error:
        stop(str(error))
    sys.exit(0 if is_all_accepted else 1)


def _members(command: Command | Rejection) -> dict[str, object]:
    if isinstance(command, Rejection):
        return {"status": command.status, "reason": command.reason, "message": command.message}
    family, code = command.asset
    asset: dict[str, object] = {"asset_family": family, "code": code}
    if isinstance(command, UpsertAsset):
        return asset | {"action": "upsert", "values": command.values}
    return asset | {"action": "delete"}
