"""The command `asset-sync mapping paths`: list the paths of a sample event."""

import click

from service.cli.mapping.inputs import read_event
from service.cli.options import stop
from service.cli.output import complain, json_text, say, shown
from service.mapping.endings import EarlyEndError
from service.mapping.event_paths import event_paths
from service.mapping.json_values import decode, encode

VALUE_CHARACTERS_MAX = 120
"""How much of a value is shown."""


@click.command(
    epilog="""\b
Examples:
  asset-sync mapping paths event.json
  kcat -C -t dam.raw -c 1 | asset-sync mapping paths - | grep -i title
"""
)
@click.argument("event")
def paths(event: str) -> None:
    """List every path of a sample EVENT with its value, quoted ready to paste.

    EVENT is a file with one event as JSON; - reads standard input. Paths of list items have their
    number; with `for_each`, leave out what leads to the item. A text with JSON is looked into.
    """
    try:
        found = list(event_paths(decode(read_event(event), "The event")))
    except EarlyEndError as error:
        stop(error.message)
    width = max((len(one.path) for one in found), default=0)
    for one in found:
        text = json_text(encode(one.value))
        if len(text) > VALUE_CHARACTERS_MAX:
            text = text[: VALUE_CHARACTERS_MAX - 1] + "…"
        say(f"{one.path:<{width}}  {text}")
    for parsed in dict.fromkeys(one.parsed for one in found if one.parsed):
        complain(f"{shown(parsed)} is JSON as text: its paths need `parse: [{shown(parsed)}]`.")
