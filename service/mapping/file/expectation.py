"""The tests in the sources file: a record, the DAM's answer, and what is expected."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)

from service.mapping.file.fields import Constant, FileName, Part, Text

NOT_FOUND = "not_found"
"""What stands in `fetched` for an asset that the DAM no longer has."""


class ExpectedUpload(Part):
    """The file that a value should name."""

    url: Text
    name: Text | None = None
    sha256: Text | None = None


def _kind(given: object) -> str:
    return "file" if isinstance(given, dict | ExpectedUpload) else "constant"


def _object(required: str, **optional: object) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {required: {}, **optional},
        "required": [required],
        "additionalProperties": False,
    }


_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_UPLOAD_SCHEMA = _object("url", name=_TEXT, sha256=_TEXT)
_DATA_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": ["string", "number", "boolean", "null"]},
        {"type": "array", "items": {"type": "string"}},
        _UPLOAD_SCHEMA,
    ]
}
Data = Annotated[
    Annotated[ExpectedUpload, Tag("file")] | Annotated[Constant, Tag("constant")],
    Discriminator(_kind),
    WithJsonSchema(_DATA_SCHEMA),
]


class ExpectedEntry(Part):
    """A value with its locale and channel."""

    may_be_null: ClassVar[frozenset[str]] = frozenset({"locale", "channel", "data"})

    data: Data
    locale: Text | None = None
    channel: Text | None = None


def _entries(given: object) -> object:
    """Return the entries that a value is short for."""
    if isinstance(given, list) and given and all(isinstance(each, dict) for each in given):
        return given
    return [{"data": given}]


_ENTRY_SCHEMA = {
    "type": "array",
    "items": _object("data", locale=_TEXT_OR_NULL, channel=_TEXT_OR_NULL),
}
Entries = Annotated[
    list[ExpectedEntry],
    BeforeValidator(_entries),
    WithJsonSchema(
        {"title": "value or list of entries", "anyOf": [*_DATA_SCHEMA["anyOf"], _ENTRY_SCHEMA]}
    ),
]

KINDS = ("upsert", "delete", "skipped", "rejected", "fetch")


class Expectation(Part):
    """What one item of the record should become."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind]} for kind in KINDS]})

    upsert: Text | None = Field(None, description="FAMILY/CODE of an asset that is written.")
    delete: Text | None = Field(None, description="FAMILY/CODE of an asset that is deleted.")
    skipped: Literal["not_selected", "no_family", "not_found"] | None = Field(
        None, description="The item is skipped for this reason."
    )
    rejected: Literal["unmappable", "too_large", "undecodable"] | None = Field(
        None, description="The item is rejected for this reason."
    )
    fetch: Text | None = Field(None, description="The URL that is read, with the host's base.")
    values: dict[str, Entries] | None = Field(
        None, description="The values, compared as a whole. They are written as in an event."
    )
    context: dict[str, Any] | None = Field(None, description="The context, compared as a whole.")
    message: Text | None = Field(None, description="A part of the message.")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [kind for kind in KINDS if kind in self.model_fields_set]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(KINDS)}")
        for member, kinds in _GOES_WITH.items():
            if member in self.model_fields_set and given[0] not in kinds:
                raise ValueError(f"`{member}` goes with {' or '.join(kinds)}")
        return self


_GOES_WITH = {
    "values": ("upsert",),
    "context": ("upsert", "delete"),
    "message": ("skipped", "rejected"),
}


class SampleRecord(Part):
    """A record of the raw topic. Without a value it is a tombstone."""

    may_be_null: ClassVar[frozenset[str]] = frozenset({"key", "value"})

    key: Any = Field(None, description="The key: a text, or an object that becomes JSON.")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers of the record.")
    value: Any = Field(
        None,
        description="The value: an object that becomes JSON, or a text that is taken as it is.",
    )
    value_file: FileName | None = Field(
        None, description="File with the value, relative to the folder of the sources file."
    )

    @model_validator(mode="after")
    def _has_one_value(self) -> Self:
        if {"value", "value_file"} <= self.model_fields_set:
            raise ValueError("has both `value` and `value_file`: remove one of them")
        return self


def _fetched(given: object) -> object:
    if isinstance(given, dict) or given == NOT_FOUND:
        return given
    raise ValueError(f"should be the object that the DAM answers, or {NOT_FOUND}")


class FileTest(Part):
    """A test of the mapping that stands in the file."""

    name: Text = Field(description="What the test is about.")
    record: SampleRecord = Field(description="The record that is mapped.")
    fetched: Annotated[
        dict[str, Any] | Literal["not_found"] | None,
        PlainValidator(_fetched),
        WithJsonSchema({"anyOf": [{"type": "object"}, {"const": NOT_FOUND}]}),
    ] = Field(None, description="What the DAM answers when the asset is read back.")
    expect: Annotated[list[Expectation], Field(min_length=1)] = Field(
        description="One expectation for each change of the record, in order."
    )
