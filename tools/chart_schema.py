"""Write the part of the chart's values schema that is the settings; the rest is written by hand.

Secrets are no part of it: they come as files, and a value for one is refused.
"""

import json
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from service.settings import PREFIX, variables

FILE = Path(__file__).resolve().parent.parent / "deploy/helm/asset-sync/values.schema.json"
OF_THE_CHART = frozenset({
    "KAFKA__GROUP_INSTANCE_ID", "KAFKA__SSL_CA_FILE", "KAFKA__SSL_CERT_FILE",
    "KAFKA__SSL_KEY_FILE", "PIM__CA_FILE", "PIM__SSL_CERT_FILE", "PIM__SSL_KEY_FILE",
    "HTTP__HOST",
})  # fmt: skip
"""Settings that the chart makes from other values."""

_JSON_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number"}


def settings_schema() -> dict[str, Any]:
    """The schema of `settings`."""
    properties = {
        variable.removeprefix(PREFIX): _property(group, name)
        for variable, group, name in variables()
        if "SecretStr" not in str(group.model_fields[name].annotation)
        and variable.removeprefix(PREFIX) not in OF_THE_CHART
    }
    properties["HTTP__PORT"]["minimum"] = 1  # a container's port is known before
    return {
        "type": "object",
        "description": "Settings by their names in docs/settings.md, without ASSET_SYNC_.",
        "additionalProperties": False,
        "properties": properties,
    }


def _property(group: type[BaseModel], name: str) -> dict[str, Any]:
    field = group.model_fields[name]
    found: dict[str, Any] = {"description": field.description}
    kinds = _kinds(field.annotation)
    choices = [choice for kind in kinds for choice in get_args(kind)]
    if choices:
        return found | {"enum": [*choices, None]}
    is_size = any("parse_size" in str(part) for part in field.metadata)
    names = {_JSON_TYPES.get(kind, "string") for kind in kinds if isinstance(kind, type)}
    if is_size:
        names.add("string")
    limits = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum"}
    for part in field.metadata:
        for limit, keyword in limits.items():
            if hasattr(part, limit) and not is_size:
                found[keyword] = getattr(part, limit)
    return found | {"type": [*sorted(names), "null"]}


def _kinds(annotation: object) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return [kind for part in get_args(annotation) for kind in _kinds(part)]
    if annotation in {NoneType, SecretStr}:
        return []
    assert isinstance(annotation, type) or get_origin(annotation) is Literal, annotation
    return [annotation]


def main() -> None:
    """Write the file anew."""
    schema = json.loads(FILE.read_text())
    schema["properties"]["settings"] = settings_schema()
    FILE.write_text(json.dumps(schema, indent=2) + "\n")


if __name__ == "__main__":
    main()
