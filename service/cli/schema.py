"""`asset-sync schema`."""

import click
import msgspec

from service.contracts.schema import Language
from service.contracts.schema import schema as schema_of
from service.settings import variables


@click.command()
@click.argument("what", type=click.Choice(["events", "outcomes", "settings"]))
def schema(what: Language | str) -> None:
    """Print the JSON Schema of events or outcomes, or the settings reference."""
    if what == "settings":
        for variable, group, name in variables():
            field = group.model_fields[name]
            default = "required" if field.is_required() else f"{field.default}"
            click.echo(f"{variable:<48} {default:<24} {field.description or ''}")
    else:
        made = schema_of("events" if what == "events" else "outcomes")
        click.echo(msgspec.json.format(msgspec.json.encode(made), indent=2))
