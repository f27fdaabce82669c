"""Metadata requests that aiokafka 0.14 lacks, and the frame that flexible schemas share (KIP-482).

Metadata v8 (brokers since 2.3) answers with the permissions of the user, Metadata v10 (brokers
since 2.8) with topic ids.
"""

from collections.abc import Callable, Iterable
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

Field = tuple[str, Any]
"""The name and the type of a field."""
NO_ERROR = 0
"""The error code of an answer without an error."""
TEXT = CompactString("utf-8")
TAGS: Field = ("tags", TaggedFields)
"""The last field of every flexible request, response and struct."""
COMMITTED: tuple[Field, ...] = (
    ("partition", Int32),
    ("offset", Int64),
    ("leader_epoch", Int32),
    ("metadata", TEXT),
)
"""The fields of a committed position, where it is written and where it is read."""
TOPIC_IDS_VERSION = 10
"""The version of Metadata whose answer has topic ids."""
TOPIC_ID: tuple[Field, ...] = (("topic_id_high", Int64), ("topic_id_low", Int64))
"""The fields of a topic id, a UUID of 128 bits."""


def structs(*fields: Field) -> CompactArray:
    """Return the type of an array of structs with these fields, in a flexible schema."""
    return CompactArray(*fields, TAGS)


def by_topic(name: str, partitions_name: str, *fields: Field) -> Field:
    """Return a field with topics, each with its partitions, which have these fields."""
    return name, structs(("topic", TEXT), (partitions_name, structs(*fields)))


def _metadata_schema(
    array: Callable[..., Any],
    text: Any,  # noqa: ANN401 - aiokafka's
    *,
    topic_id: tuple[Field, ...] = (),
    tags: tuple[Field, ...] = (),
) -> Schema:
    """Return the schema of a Metadata response in the frame of its version."""
    partition = (
        ("error_code", Int16),
        ("partition", Int32),
        ("leader", Int32),
        ("leader_epoch", Int32),
        ("replicas", array(Int32)),
        ("isr", array(Int32)),
        ("offline_replicas", array(Int32)),
        *tags,
    )
    topic = (
        ("error_code", Int16),
        ("topic", text),
        *topic_id,
        ("is_internal", Boolean),
        ("partitions", array(*partition)),
        ("authorized_operations", Int32),
        *tags,
    )
    broker = (("node_id", Int32), ("host", text), ("port", Int32), ("rack", text), *tags)
    return Schema(
        ("throttle_time_ms", Int32),
        ("brokers", array(*broker)),
        ("cluster_id", text),
        ("controller_id", Int32),
        ("topics", array(*topic)),
        ("cluster_authorized_operations", Int32),
        *tags,
    )


_OPTIONS: tuple[Field, ...] = (
    ("allow_auto_topic_creation", Boolean),
    ("include_cluster_authorized_operations", Boolean),
    ("include_topic_authorized_operations", Boolean),
)


class _MetadataResponse8(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = _metadata_schema(Array, String("utf-8"))


class _MetadataRequest8(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse8
    SCHEMA = Schema(("topics", Array(String("utf-8"))), *_OPTIONS)


class _MetadataResponse10(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = TOPIC_IDS_VERSION
    SCHEMA = _metadata_schema(CompactArray, TEXT, topic_id=TOPIC_ID, tags=(TAGS,))


class _MetadataRequest10(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = TOPIC_IDS_VERSION
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse10
    SCHEMA = Schema(("topics", structs(*TOPIC_ID, ("topic", TEXT))), *_OPTIONS, TAGS)


class MetadataWithPermissions(Request[_MetadataRequest8]):  # type: ignore[misc]
    """Ask which of these topics exist, and what the user may do with them."""

    API_KEY = 3

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)

    def build(self, request_struct_class: Any) -> Any:  # noqa: ANN401 - aiokafka's
        return request_struct_class(self._names, False, False, True)  # noqa: FBT003 - fields


class MetadataWithIds(Request[_MetadataRequest8 | _MetadataRequest10]):  # type: ignore[misc]
    """Ask for the partitions of these topics, and for their ids where the broker has ids."""

    API_KEY = 3

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)

    def build(self, request_struct_class: Any) -> Any:  # noqa: ANN401 - aiokafka's
        options = (False, False, False)
        if request_struct_class is _MetadataRequest8:
            return request_struct_class(self._names, *options)
        topics: list[Any] = [(0, 0, name, {}) for name in self._names]
        return request_struct_class(topics, *options, {})
