"""JSON Schemas of the published language (draft 2020-12), made from its types."""

from typing import Any, Literal

import msgspec

from service.contracts.asset_change import CloudEvent, PlainDelete, PlainUpsert
from service.contracts.outcome import Outcome

Language = Literal["events", "outcomes"]


def schema(language: Language) -> dict[str, Any]:
    """The schema of one side: a record's value in JSON."""
    made = _events() if language == "events" else msgspec.json.schema(Outcome)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _events() -> dict[str, Any]:
    """Any of the three: msgspec wants untagged unions apart."""
    shapes, components = msgspec.json.schema_components(
        (CloudEvent, PlainUpsert, PlainDelete), ref_template="#/$defs/{name}"
    )
    return {"anyOf": list(shapes), "$defs": components}
