"""The command `asset-sync mapping new`: print or write a first sources file."""

from pathlib import Path

import click

from service.cli.options import stop
from service.cli.output import say
from service.mapping import profiles, starters


@click.command(
    epilog=f"""Profiles: {", ".join(profiles.names())}.

\b
Examples:
  asset-sync mapping new bynder
  asset-sync mapping new s3 sources.yaml
"""
)
@click.argument("profile", metavar="PROFILE", type=click.Choice(profiles.names()))
@click.argument("file", type=click.Path(path_type=Path), required=False)
def new(profile: str, file: Path | None) -> None:
    """Print a sources file to begin with, or write it to FILE.

    It has comments, sample events of this kind of DAM, and tests that pass. Change the names of
    topics, families and attributes to yours.
    """
    content = starters.content(profile)
    if file is None:
        say(content, ends_line=False)
        return
    try:
        with file.open("xb") as written:
            written.write(content)
    except FileExistsError:
        stop(f"{file} exists already: name another file, or remove it first.")
    except OSError as error:
        stop(f"{file} cannot be written: {error.strerror or error}.")
    say(f"Wrote {file}. Next: asset-sync mapping test {file}")
