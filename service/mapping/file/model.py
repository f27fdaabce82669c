"""The sources file as a whole: tables, hosts, and sources with their rules (docs/sources.md)."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from service.mapping.file.condition import Comparison, Condition
from service.mapping.file.expectation import Expectation, FileTest
from service.mapping.file.fields import FamilyCode, Part, SourceName, Table, Text, Topic
from service.mapping.file.hosts import Auth, Host
from service.mapping.file.value import AttributeValue, Constants, Missing, Value, ValueField, Values
from service.mapping.file.webhook import Verify, Webhook

__all__ = [
    "AttributeValue",
    "Auth",
    "Comparison",
    "Condition",
    "EventPaths",
    "Expectation",
    "Fetch",
    "FileTest",
    "Host",
    "Instead",
    "Rule",
    "Source",
    "SourceName",
    "SourcesFile",
    "Value",
    "Verify",
    "Webhook",
]


class EventPaths(Part):
    """Where the event says what is told of it in outcomes. The paths start where `when` starts."""

    id: Text | None = Field(None, description="Path of the event's own id.")
    type: Text | None = Field(None, description="Path of the event's type.")
    source: Text | None = Field(None, description="Path of the event's source.")
    subject: Text | None = Field(None, description="Path of the event's subject.")
    time: Text | None = Field(
        None, description="Path of the event's time: RFC 3339, or seconds or milliseconds."
    )


class Fetch(Part):
    """How an asset is read back from its DAM before the change is made."""

    host: Text = Field(description="Name of the host, under `hosts`.")
    url: Text = Field(
        description="Template of the address, below the host's base. Each placeholder is "
        "percent-encoded."
    )
    delay_seconds: Annotated[float, Field(ge=0, le=300)] = Field(
        0, description="Wait this long after the event before reading."
    )
    only: Condition | None = Field(
        None, description="Condition on the answer; if it does not hold, the change is skipped."
    )
    not_found: Literal["skip", "delete", "reject"] = Field(
        "skip", description="What an asset that the DAM no longer has means."
    )


class Instead(Part):
    """Values that are written instead of deleting an asset."""

    set: Constants = Field(description="Constant values by attribute code.")


def _kind(given: object) -> str:
    return "map" if isinstance(given, dict | Instead) else "word"


Replacement = Annotated[
    Annotated[Literal["delete", "skip"], Tag("word")] | Annotated[Instead, Tag("map")],
    Discriminator(_kind),
]
"""What a rule's `delete` or `archive` becomes."""


class _Defaults(Part):
    """The keys that a rule takes from its source unless it has its own."""

    for_each: Text | None = Field(
        None,
        description="Path of a list or an object: one change for each item. An object's items are "
        "{key, value}.",
    )
    missing: Missing | None = Field(
        None,
        description="What an absent value means. leave (default): nothing. erase: the event is the "
        "whole truth. reject: unmappable. skip: the change is skipped.",
    )
    family: ValueField | None = Field(
        None, description="Code of the asset family; where it is empty, `no_family` decides."
    )
    families: Annotated[list[FamilyCode], Field(min_length=1)] | None = Field(
        None, description="Families to delete from, if the event names none."
    )
    no_family: Literal["skip", "reject"] | None = Field(
        None, description="What an event without a family means; default: skip."
    )
    code: ValueField | None = Field(None, description="Code of the asset.")
    values: Values | None = Field(None, description="Values by attribute code.")
    context: Annotated[dict[str, Text], Field(min_length=1)] | None = Field(
        None, description="Paths of what the outcome repeats, by name. Never sent to the PIM."
    )
    fetch: Fetch | None = Field(None, description="How the asset is read back.")


class Rule(_Defaults):
    """A rule; the first one whose condition holds decides."""

    name: Text | None = Field(
        None, description="Name in messages and outcomes. Default: its number, from 1."
    )
    when: Condition | None = Field(None, description="Condition; default: always.")
    do: Literal["upsert", "delete", "archive", "skip", "reject"] = Field(
        description="What happens to the asset."
    )
    because: Text | None = Field(None, description="Message of the outcome of skip or reject.")
    root: Text | None = Field(None, description="Path that the following paths start from.")
    set: Constants | None = Field(None, description="Constant values, on top of `values`.")


TOMBSTONE = Rule.model_validate({"do": "delete"})
"""The rule of a tombstone, where it is not skipped."""


class Source(_Defaults):
    """A source: the topics of one DAM, and what its events become."""

    profile: Text | None = Field(
        None,
        description="Profile that ships with asset-sync. A key given here replaces the profile's "
        "key as a whole.",
    )
    topics: Annotated[list[Topic], Field(min_length=1)] = Field(
        description="Raw topics; a topic belongs to one source."
    )
    where: Condition | None = Field(
        None, description="Condition on the event: does it belong to this source?"
    )
    value: Literal["json", "cloudevents"] = Field(
        "json", description="json: the value is an object. cloudevents: structured or binary."
    )
    unwrap: list[Text] = Field(
        default_factory=list,
        description="Members that become the event where they hold an object, in turn.",
    )
    parse: list[Text] = Field(
        default_factory=list, description="Plain paths of members that hold JSON as text."
    )
    tombstones: Literal["skip", "delete"] = Field(
        "skip", description="What a record without a value means."
    )
    identity: Text | None = Field(None, description="Path of the DAM's own id of the asset.")
    only: Condition | None = Field(None, description="Condition on each item.")
    rules: list[Rule] = Field(default_factory=list, description="Tried in order.")
    on_delete: Replacement = Field("delete", description="What the rules' `delete` does.")
    on_archive: Replacement = Field("skip", description="What the rules' `archive` does.")
    event: EventPaths = Field(
        default_factory=lambda: EventPaths.model_validate({}),
        description="Paths of facts about the event.",
    )
    webhook: Webhook | None = Field(None, description="Where the DAM sends its events over HTTP.")
    tests: list[FileTest] = Field(default_factory=list, description="Tests of this source.")

    @property
    def fetches(self) -> tuple[Fetch, ...]:
        """What the source and its rules read back."""
        return tuple(one.fetch for one in (self, *self.rules) if one.fetch is not None)


class SourcesFile(Part):
    """The file that ASSET_SYNC_SOURCES_FILE names."""

    version: Literal[1] = Field(description="Version of this format.")
    tables: dict[Text, Table] = Field(default_factory=dict, description="Look-up tables by name.")
    hosts: dict[Text, Host] = Field(
        default_factory=dict, description="Hosts to read back from, by name."
    )
    sources: Annotated[dict[SourceName, Source], Field(min_length=1)] = Field(
        description="Sources by name. The name stands in outcomes, metrics, logs and group ids; a "
        "renamed source starts anew."
    )
