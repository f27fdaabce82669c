"""JSON Schemas (draft 2020-12) of what is on the topics, made from the types in this package."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from service.contracts.asset_change import CloudEvent, PlainDelete, PlainUpsert
from service.contracts.dead_letter import DeadLetterHeaders
from service.contracts.outcome import Outcome

Language = Literal["events", "outcomes", "dead-letters"]
Shapes = tuple[dict[str, Any], ...]
Components = dict[str, dict[str, Any]]

GROWING = {
    "OutcomeData": ("result", "reason"),
    "OutcomeFile": ("result",),
    "ChangeError": ("code",),
    "DeadLetterHeaders": ("dlq.reason",),
}
"""Members of each type that may get new words within v1; statuses may not."""

TYPES: Mapping[Language, type] = {"outcomes": Outcome, "dead-letters": DeadLetterHeaders}
"""The languages that are one type each."""


def schema(language: Language) -> dict[str, Any]:
    """Return the schema of a record's value (an event, an outcome) or headers (a dead letter)."""
    made = _events() if language == "events" else _one(TYPES[language])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def components(types: Sequence[Any], ref_template: str) -> tuple[Shapes, Components]:
    """Return the schemas of several types, and of all that they refer to."""
    shapes, found = msgspec.json.schema_components(types, ref_template=ref_template)
    for name in GROWING.keys() & found.keys():
        members = found[name]["properties"]
        members.update({member: _open(members[member]) for member in GROWING[name]})
    return shapes, found


def _open(member: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with the known words as examples, so that a later word is valid too."""
    description = "Within v1 more words may be added."
    if "enum" in member:
        return {"type": "string", "examples": member["enum"], "description": description}
    words = next(choice["enum"] for choice in member["anyOf"] if "enum" in choice)
    known = {"type": "string", "examples": words, "description": description}
    return member | {"anyOf": [known, {"type": "null"}]}


def _events() -> dict[str, Any]:
    """Combine the three types by hand: msgspec has no union of tagged and untagged types."""
    shapes, found = components((CloudEvent, PlainUpsert, PlainDelete), "#/$defs/{name}")
    return {"anyOf": list(shapes), "$defs": found}


def _one(of: type) -> dict[str, Any]:
    (shape,), found = components((of,), "#/$defs/{name}")
    return {**shape, "$defs": found}
