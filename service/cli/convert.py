"""`asset-sync convert`."""

import sys
from typing import BinaryIO

import click
import msgspec

from service.cli.publish import source_record
from service.core.convert import convert as to_command
from service.core.decode import DecodeLimits, decode
from service.core.model import Rejection, UpsertAsset


@click.command()
@click.argument("file", type=click.File("rb"))
def convert(file: BinaryIO) -> None:
    """Show what each event of FILE (JSON Lines, or -) would do; nothing is sent.

    Exit code 1 where an event would be rejected.
    """
    is_well = True
    for number, line in enumerate(file):
        if not line.strip():
            continue
        change = decode(source_record(line.strip(), number), DecodeLimits(1024**2))
        command = change if isinstance(change, Rejection) else to_command(change)
        if isinstance(command, Rejection):
            is_well = is_well and command.status == "skipped"
            shown: dict[str, object] = {
                "line": number + 1,
                "status": command.status,
                "reason": command.reason,
                "message": command.message,
            }
        else:
            family, code = command.asset
            shown = {"line": number + 1, "asset_family": family, "code": code, "action": "delete"}
            if isinstance(command, UpsertAsset):
                shown |= {"action": "upsert", "values": command.values}
        click.echo(msgspec.json.encode(shown))
    sys.exit(0 if is_well else 1)
