"""The command `asset-sync schema`: print schemas and reference pages."""

from typing import cast, get_args

import click
import msgspec

from service import __version__
from service.adapters.telemetry.metrics_page import as_markdown
from service.cli.output import say
from service.contracts.asyncapi_sources import whole_asyncapi
from service.contracts.reasons import document
from service.contracts.schema import Language
from service.contracts.schema import schema as schema_of
from service.mapping.file.schema import sources_schema
from service.settings import reference


@click.command()
@click.argument(
    "what",
    type=click.Choice(
        [
            *get_args(Language),
            *("asyncapi", "sources", "settings", "metrics", "reasons"),
        ]
    ),
)
def schema(what: str) -> None:
    """Print reference documents: JSON Schemas, AsyncAPI, settings, metrics, reasons.

    Of events and outcomes the schema is that of the value, of dead letters that of the headers.

    With the JSON Schema of the sources file, editors complete and check it: write the schema beside
    the file, and let its first line be: # yaml-language-server: $schema=sources.schema.json

    The AsyncAPI document is that of run, translate and ingress, with the topics' default names. A
    running run or translate serves its own one at /asyncapi.
    """
    if what == "settings":
        say(reference(), ends_line=False)
    elif what == "metrics":
        say(as_markdown(), ends_line=False)
    elif what == "reasons":
        say(document(), ends_line=False)
    elif what == "sources":
        _print(sources_schema())
    elif what == "asyncapi":
        _print(whole_asyncapi(__version__))
    else:
        _print(schema_of(cast("Language", what)))


def _print(document: object) -> None:
    say(msgspec.json.format(msgspec.json.encode(document), indent=2))
