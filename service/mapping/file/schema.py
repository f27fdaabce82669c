"""The JSON Schema of the sources file, for editors and for the reference."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from service.mapping import profiles
from service.mapping.faults import DocumentPath
from service.mapping.file.model import SourcesFile

Schema = dict[str, Any]
REFS = "#/$defs/"


class _Generator(GenerateJsonSchema):
    """Describes what may be written: a key without a value may not, and titles say nothing."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if described.get("default", ...) is None:
            del described["default"]
        return described

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's
        return False


@cache
def sources_schema() -> Schema:
    """Return the schema (draft 2020-12)."""
    schema = SourcesFile.model_json_schema(schema_generator=_Generator)
    schema["$defs"]["Source"]["properties"]["profile"]["enum"] = list(profiles.names())
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def keys_at(path: DocumentPath) -> tuple[str, ...]:
    """Return the keys that a map at this place of the document may have."""
    places = [sources_schema()]
    for step in path:
        inner = [found for place in places for found in _step(place, step)]
        places = inner or places
    return tuple(dict.fromkeys(key for place in places for key in _properties(place)))


def _step(place: Schema, step: str | int) -> Iterator[Schema]:
    for choice in _choices(place):
        if isinstance(step, int):
            found = [choice.get("items")]
        elif step in choice.get("properties", ()):
            found = [choice["properties"][step]]
        else:
            found = [
                choice.get("additionalProperties"),
                *choice.get("patternProperties", {}).values(),
            ]
        yield from (inner for inner in found if isinstance(inner, dict))


def _properties(place: Schema) -> Iterator[str]:
    for choice in _choices(place):
        yield from choice.get("properties", ())


def _choices(place: Schema) -> Iterator[Schema]:
    """Yield the schema itself or, where it refers to others or has alternatives, all of these."""
    if "$ref" in place:
        name = place["$ref"].removeprefix(REFS)
        yield from _choices(sources_schema()["$defs"][name])
    for choice in (*place.get("anyOf", ()), *place.get("oneOf", ())):
        yield from _choices(choice)
    yield place
