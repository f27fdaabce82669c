"""The command `asset-sync mapping show`: print a profile."""

import click

from service.cli.output import say
from service.mapping import profiles


@click.command(epilog=f"Profiles: {', '.join(profiles.names())}.")
@click.argument("profile", metavar="PROFILE", type=click.Choice(profiles.names()))
def show(profile: str) -> None:
    """Print a profile: what asset-sync knows about the events of a kind of DAM.

    A source with `profile: NAME` has all its keys. A key that the source has itself replaces the
    profile's key as a whole.
    """
    say(profiles.content(profile), ends_line=False)
