"""The AsyncAPI 3 document of what is read and written, with Kafka bindings."""

from dataclasses import dataclass
from typing import Any

from service.contracts.asset_change import CloudEvent, PlainDelete, PlainUpsert
from service.contracts.dead_letter import DeadLetterHeaders, ReplayMark
from service.contracts.outcome import Outcome
from service.contracts.schema import components

BINDING = "0.5.0"
CLOUD_EVENTS = "application/cloudevents+json"
_DEAD_LETTER = (
    "The record of a rejected or failed change, with the headers that say why; its key and value "
    "are those of the original record"
)
_KEY = {"type": "string", "description": "FAMILY/CODE"}


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of a deployment's topics and of its consumer group."""

    events: tuple[str, ...] = ("dam.asset-changes",)
    outcomes: str = "pim.asset-outcomes"
    group: str = "asset-sync"
    dead_letters: str = "pim.asset-dead-letters"


def asyncapi(version: str, topics: Topics) -> dict[str, Any]:
    """Return the document as JSON values: asset-sync receives changes and sends outcomes."""
    types = (CloudEvent, PlainUpsert, PlainDelete, Outcome, DeadLetterHeaders, ReplayMark)
    shapes, schemas = components(types, "#/components/schemas/{name}")
    cloud_event, plain_upsert, plain_delete, outcome, dead_letter, mark = shapes
    channels = {f"events{index or ''}": _events(name) for index, name in enumerate(topics.events)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "asset-sync",
            "version": version,
            "description": "Carries asset changes from DAM systems to Akeneo PIM. Each change gets "
            "exactly one outcome. Read the outcomes with isolation.level=read_committed.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            **channels,
            "outcomes": _outcomes(topics.outcomes),
            "dead_letters": _dead_letters(topics.dead_letters),
        },
        "operations": {
            **{f"receive_{name}": _receive(name, topics.group) for name in channels},
            "send_outcomes": _send(
                "outcomes", "Sends one outcome for each change, in a transaction."
            ),
            "send_dead_letters": _send(
                "dead_letters",
                "Sends the record of each rejected or failed change, in the transaction of its "
                "outcome.",
            ),
        },
        "components": {
            "schemas": schemas,
            "messages": {
                "cloudEvent": _message("A CloudEvent 1.0", CLOUD_EVENTS, cloud_event),
                "plain": _message(
                    "Plain JSON", "application/json", {"anyOf": [plain_upsert, plain_delete]}
                ),
                "tombstone": _message("A tombstone: delete", "application/json", {"type": "null"}),
                "outcome": _message("The outcome of one change", CLOUD_EVENTS, outcome),
                "dead_letter": _dead_letter(_DEAD_LETTER, dead_letter, {}),
                "replay_mark": _dead_letter("A dead letter was replayed", mark, {"type": "null"}),
            },
        },
    }


def _events(topic: str) -> dict[str, Any]:
    names = ("cloudEvent", "plain", "tombstone")
    return {
        "address": topic,
        "description": "Asset changes of a DAM. All changes of an asset belong in one partition.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": {"topic": topic, "bindingVersion": BINDING}},
    }


def _outcomes(topic: str) -> dict[str, Any]:
    configuration = {"cleanup.policy": ["delete"]}
    return {
        "address": topic,
        "description": "One record for each change; `ce_*` headers repeat the attributes. Records "
        "are not compressed unless ASSET_SYNC_KAFKA__COMPRESSION or the topic's compression.type "
        "is set.",
        "messages": {"outcome": {"$ref": "#/components/messages/outcome"}},
        "bindings": {
            "kafka": {
                "topic": topic,
                "topicConfiguration": configuration,
                "bindingVersion": BINDING,
            }
        },
    }


def _dead_letters(topic: str) -> dict[str, Any]:
    names = ("dead_letter", "replay_mark")
    configuration = {"cleanup.policy": ["delete"]}
    return {
        "address": topic,
        "description": "One record for each rejected or failed change. `asset-sync dead-letters "
        "replay` writes it to its original topic again, and marks it here.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "kafka": {
                "topic": topic,
                "topicConfiguration": configuration,
                "bindingVersion": BINDING,
            }
        },
    }


def _dead_letter(title: str, headers: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": title,
        "headers": headers,
        "payload": payload,
        "bindings": {"kafka": {"bindingVersion": BINDING}},
    }


def _send(channel: str, summary: str) -> dict[str, Any]:
    return {"action": "send", "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _receive(channel: str, group: str) -> dict[str, Any]:
    group_id = {"type": "string", "enum": [group]}
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": "Reads committed records; each gets exactly one outcome.",
        "bindings": {"kafka": {"groupId": group_id, "bindingVersion": BINDING}},
    }


def _message(title: str, content_type: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": title,
        "contentType": content_type,
        "payload": payload,
        "bindings": {"kafka": {"key": _KEY, "bindingVersion": BINDING}},
    }
