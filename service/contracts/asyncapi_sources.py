"""The AsyncAPI documents with raw topics: what ingress writes there, and translate makes of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from service.contracts.asyncapi import BINDING, Topics, asyncapi

_HEADERS = {
    "type": "object",
    "properties": {
        "content-type": {"type": "string"},
        "ingress.source": {"type": "string", "description": "The source of the sources file."},
        "ingress.received_at": {"type": "string", "format": "date-time"},
        "ingress.verified": {"type": "string", "description": "The scheme that verified it."},
    },
}
"""Those that ingress writes; a DAM that writes to Kafka itself sends what it likes."""


@dataclass(frozen=True, slots=True)
class RawSource:
    """A source of the sources file, with its raw topics and the consumer group that reads them."""

    name: str
    topics: tuple[str, ...]
    group: str


def translate_asyncapi(
    version: str, topics: Topics, sources: Iterable[RawSource]
) -> dict[str, Any]:
    """Return the document of `translate`, which receives raw events and sends changes.

    `topics.events` is the topic of the changes.
    """
    document = asyncapi(version, topics)
    sent = {name: one for name, one in document["operations"].items() if one["action"] == "send"}
    return document | _with_sources(document, sources, sent)


def whole_asyncapi(version: str) -> dict[str, Any]:
    """Return the document of `run`, `translate` and `ingress`, with the topics' default names.

    The raw topics have no default name, so theirs is null.
    """
    document = asyncapi(version, Topics())
    own = document["operations"] | {
        "ingress_sends_raw": {
            "action": "send",
            "channel": {"$ref": "#/channels/raw"},
            "summary": "Ingress sends each verified webhook of a DAM, byte for byte.",
        }
    }
    source = RawSource("SOURCE", (), f"{Topics().group}.translate.SOURCE")
    found = document | _with_sources(document, [source], own)
    channels = {**found["channels"], "raw": _channel(None, "a source of the sources file")}
    return found | {"channels": channels}


def _with_sources(
    document: dict[str, Any], sources: Iterable[RawSource], operations: dict[str, Any]
) -> dict[str, Any]:
    """Return the members of the document that raw topics change."""
    channels = dict(document["channels"])
    receiving = {}
    for source in sources:
        names = [f"raw_{source.name}{index or ''}" for index in range(len(source.topics))]
        for name, topic in zip(names, source.topics, strict=True):
            channels[name] = _channel(topic, f"the source {source.name}")
        for name in names or ["raw"]:
            receiving[f"translate_{name}"] = _receive(name, source)
    components = document["components"]
    messages = components["messages"] | {"raw": _raw_message()}
    return {
        "channels": channels,
        "operations": {**operations, **receiving, "translate_sends_changes": _send_changes()},
        "components": components | {"messages": messages},
    }


def _channel(topic: str | None, whose: str) -> dict[str, Any]:
    named = {} if topic is None else {"topic": topic}
    return {
        "address": topic,
        "description": f"Raw events of {whose}, as the DAM sent them.",
        "messages": {"raw": {"$ref": "#/components/messages/raw"}},
        "bindings": {"kafka": {**named, "bindingVersion": BINDING}},
    }


def _raw_message() -> dict[str, Any]:
    key = {"type": "string", "description": "The DAM's own id of the asset, or the source's name."}
    return {
        "title": "An event of a DAM",
        "contentType": "application/json",
        "headers": _HEADERS,
        "payload": {"description": "JSON of the DAM; the sources file says what it means."},
        "bindings": {"kafka": {"key": key, "bindingVersion": BINDING}},
    }


def _receive(channel: str, source: RawSource) -> dict[str, Any]:
    group_id = {"type": "string", "enum": [source.group]}
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": f"Reads raw events of {source.name}; each becomes changes, outcomes or both.",
        "bindings": {"kafka": {"groupId": group_id, "bindingVersion": BINDING}},
    }


def _send_changes() -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": "#/channels/events"},
        "messages": [{"$ref": "#/channels/events/messages/cloudEvent"}],
        "summary": "Sends the changes of a raw event, in one transaction with its position.",
    }
