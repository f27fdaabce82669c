"""The reference of the sources file, made from its JSON Schema: docs/sources-reference.md."""

import json
import re
from collections.abc import Iterator

from service.mapping.file.schema import REFS, Schema, sources_schema

_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
}
_TITLES = {
    "SourcesFile": "The file",
    "Auth": "Credentials of a host",
    "Basic": "Basic authentication",
    "Header": "Secret header",
    "OAuth2": "OAuth 2.0",
    "Fetch": "Reading back",
    "Upload": "File to upload",
    "Instead": "Values instead of a delete",
    "FileTest": "Test",
    "Verify": "Verification of a webhook",
    "CloudinaryVerify": "Signature of Cloudinary",
    "SnsVerify": "Signature of Amazon SNS",
    "AdobeVerify": "Signature of Adobe",
    "StandardVerify": "Signature of Standard Webhooks",
    "HmacVerify": "HMAC in a header",
    "TokenVerify": "Token in a header",
}
"""Headings of parts whose name in the code would not tell a reader enough."""
_LINKS = {
    "condition": "comparison",
}
"""Which heading explains a title that has none of its own."""
_WITH_KEYS_OF = {"AttributeValue": "Value"}
"""Parts that have all keys of another part, which the page does not repeat."""
_INTRODUCTION = """\
# Sources file: reference

Every key of the sources file. [sources.md](sources.md) explains how they work together. `asset-sync
schema sources` prints the same as JSON Schema, with which editors complete and check the file. This
page is generated: `make schemas`.

A *condition* is a map of paths with what each is compared with, of which all must hold, or a list
of such maps, of which one must hold. A *scalar* is a text, a number, true, false or null; a
*constant* is a scalar or a list of texts. Where a [value](#value) may stand, a text is short for
its `path`.
"""


def reference() -> str:
    """Return the text of the page."""
    schema = sources_schema()
    lines = [_INTRODUCTION]
    for name in _in_order(schema):
        lines += _section(name, schema["$defs"].get(name, schema))
    return "\n".join(lines)


def _in_order(schema: Schema) -> list[str]:
    """Return the names of all parts, each after the first part that refers to it."""
    order: list[str] = []
    pending = ["SourcesFile"]
    while pending:
        name = pending.pop(0)
        if name not in order:
            order.append(name)
            pending += _refs(schema["$defs"].get(name, schema)["properties"])
    return order


def _refs(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference.removeprefix(REFS)
        for inner in node.values():
            yield from _refs(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _refs(inner)


def _section(name: str, part: Schema) -> Iterator[str]:
    inherited = _WITH_KEYS_OF.get(name)
    left_out = sources_schema()["$defs"][inherited]["properties"] if inherited else {}
    also = f" It has every key of a {_link(inherited)} too." if inherited else ""
    yield f"## {_title(name)}"
    yield ""
    yield " ".join(part["description"].split()) + also
    yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, described in part["properties"].items():
        if key not in left_out:
            default = "required" if key in part.get("required", ()) else _default(described)
            yield f"| `{key}` | {_words(described)} | {default} | {_meaning(described)} |"
    yield ""


def _meaning(described: Schema) -> str:
    """Return a key's description, or else that of the part that it holds."""
    own = described.get("description")
    if own is None:
        own = sources_schema()["$defs"][described["$ref"].removeprefix(REFS)]["description"]
    return " ".join(own.replace("|", "\\|").split())


def _default(described: Schema) -> str:
    default = described.get("default", "")
    return (
        f"`{default if isinstance(default, str) else json.dumps(default)}`" if default != "" else ""
    )


def _link(name: str) -> str:
    title = _title(name).lower()
    anchor = re.sub("[^a-z0-9-]", "", title.replace(" ", "-"))
    return f"[{title}](#{anchor})"


def _words(described: Schema) -> str:
    """Return what a value may be, in words."""
    match described:
        case {"$ref": str(reference)}:
            return _link(reference.removeprefix(REFS))
        case {"title": str(title)}:
            return f"[{title}](#{_LINKS[title]})" if title in _LINKS else title
        case {"anyOf": choices} | {"oneOf": choices}:
            return " or ".join(dict.fromkeys(map(_words, choices)))
        case {"enum": words}:
            return ", ".join(f"`{word}`" for word in words)
        case {"const": word}:
            return f"`{word}`"
        case {"type": "array"}:
            return f"list of {_words(described.get('items', {}))}"
        case {"type": "object"}:
            values = [described.get("additionalProperties"), *_patterned(described)]
            return (
                f"map of {' or '.join(_words(v) for v in values if isinstance(v, dict)) or 'any'}"
            )
        case {"type": list(kinds)}:
            return " or ".join(_TYPES[kind] for kind in kinds)
        case {"type": str(kind)}:
            return _TYPES[kind] + _limits(described)
    return "anything"


def _patterned(described: Schema) -> list[Schema]:
    return list(described.get("patternProperties", {}).values())


def _limits(described: Schema) -> str:
    least = described.get("minimum", described.get("exclusiveMinimum"))
    most = described.get("maximum")
    if least is not None and most is not None:
        return f", {least:g} to {most:g}"
    return f", at least {least:g}" if least is not None else ""


def _title(name: str) -> str:
    title = _TITLES.get(name)
    return title or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()
