"""Links to the DAM and the PIM, from templates such as `https://dam.example/{context.dam_id}`."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from service.console.entry import Entry
from service.contracts.text import DOT_SEGMENTS

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_KNOWN = "use {code}, {family} or {context.KEY}"
_CONTEXT = "context."


class Links(NamedTuple):
    """The templates of the settings; empty where there is none."""

    dam: str = ""
    pim: str = ""


def flaw_of_template(template: str) -> str | None:
    """Return what is wrong with a template, as the end of a sentence, or None."""
    for name in _PLACEHOLDER.findall(template):
        if name not in {"code", "family"} and not (name.startswith(_CONTEXT) and name != _CONTEXT):
            return f"has the unknown placeholder {{{name}}}: {_KNOWN}"
    fixed = _PLACEHOLDER.sub("", template)
    try:
        parts = urlsplit(fixed)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # for an invalid port or IPv6 address
        is_url = False
    if not is_url or not fixed.isprintable() or " " in fixed:
        return "must be an http or https URL such as https://dam.example/assets/{context.dam_id}"
    if _PLACEHOLDER.search(_authority(_PLACEHOLDER.sub("{}", template))):
        return "must name its host without a placeholder"
    if "{" in fixed or "}" in fixed:
        return "has a brace without its partner"
    return None


def link_of(template: str, entry: Entry) -> str | None:
    """Return the address for an asset, or None if the template or one of its values is missing."""
    values = _values(entry)
    names = _PLACEHOLDER.findall(template)
    if not template or any(not _is_usable(values.get(name)) for name in names):
        return None
    return _PLACEHOLDER.sub(lambda found: _encoded(values[found[1]]), template)


def _authority(template: str) -> str:
    """Return the scheme and the host of a template."""
    scheme, separator, rest = template.partition("://")
    return scheme + separator + re.split(r"[/?#]", rest, maxsplit=1)[0]


def _values(entry: Entry) -> Mapping[str, str]:
    context = {_CONTEXT + path: text for path, text in entry.context}
    return context | {"code": entry.code or "", "family": entry.family or ""}


def _is_usable(value: str | None) -> bool:
    return bool(value) and value not in DOT_SEGMENTS


def _encoded(value: str) -> str:
    return quote(value, safe="", errors="replace")
