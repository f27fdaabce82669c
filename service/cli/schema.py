"""`asset-sync schema`."""

import click
import msgspec

from service import __version__
from service.contracts.asyncapi import Topics, asyncapi
from service.contracts.reasons import document
from service.contracts.schema import Language
from service.contracts.schema import schema as schema_of
from service.settings import variables


@click.command()
@click.argument(
    "what", type=click.Choice(["events", "outcomes", "asyncapi", "settings", "reasons"])
)
def schema(what: Language | str) -> None:
    """Print the JSON Schema of events or outcomes, the AsyncAPI document, settings or reasons.

    The AsyncAPI document of a running service, with its own topics, is at /asyncapi.
    """
    if what == "settings":
        for variable, group, name in variables():
            field = group.model_fields[name]
            default = "required" if field.is_required() else f"{field.default}"
            click.echo(f"{variable:<48} {default:<24} {field.description or ''}")
    elif what == "reasons":
        click.echo(document(), nl=False)
    elif what == "asyncapi":
        _print(asyncapi(__version__, Topics()))
    else:
        _print(schema_of("events" if what == "events" else "outcomes"))


def _print(document: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
