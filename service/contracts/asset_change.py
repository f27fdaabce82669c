"""The change event as upstream systems write it (contract.md §4), typed for its JSON Schema.

`core.decode` and `core.convert` read the same shapes leniently and with plain messages;
a test holds both to the same examples.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

NAME_CHARACTERS_MAX = 255
"""Characters of a family code or an asset code."""

CONTEXT_BYTES_MAX = 4 * 1024
"""Bytes of `context` as it stands in the event."""

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=NAME_CHARACTERS_MAX,
        pattern=r"^(?!\s)[^/\u0000-\u001f\u007f-\u009f]*[^/\s\u0000-\u001f\u007f-\u009f]$",
        description="Without `/`, control characters, or space at either end.",
    ),
]

Scalar = str | float | bool | None
"""What an entry may hold; a number is sent to the PIM as text, exactly as written."""


class AssetValue(msgspec.Struct, frozen=True):
    """One value in the PIM's own shape; an absent locale or channel means null."""

    data: Scalar | list[str]
    locale: str | None = None
    channel: str | None = None


Values = dict[str, Scalar | list[AssetValue | str]]
"""Attribute code → the PIM's shape, or a bare value for one entry without locale and channel.

A list holds either entries or strings, never both.
"""


class ChangeData(msgspec.Struct, frozen=True):
    """Which asset, and for an upsert (which needs them) the values that change."""

    values: Values | UnsetType = UNSET
    asset_family: Name | UnsetType = UNSET
    code: Name | UnsetType = UNSET
    context: dict[str, Any] | UnsetType | None = UNSET


class CloudEvent(msgspec.Struct, frozen=True):
    """Form 1: a CloudEvent 1.0 in structured mode; other attributes are tolerated."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(min_length=1)]
    source: Annotated[str, Meta(min_length=1)]
    type: Annotated[
        str,
        Meta(
            min_length=1,
            description="Ends, at a dot and before an optional `.vN`, in asset.created, "
            "asset.updated, asset.upserted or asset.deleted; any other type is skipped.",
        ),
    ]
    data: ChangeData | UnsetType | None = UNSET
    data_base64: (
        Annotated[str, Meta(description="The same JSON in Base64, in the place of `data`.")]
        | UnsetType
        | None
    ) = UNSET
    datacontenttype: str | UnsetType | None = UNSET
    subject: Annotated[str, Meta(description="May name the asset: FAMILY/CODE.")] | UnsetType = (
        UNSET
    )
    time: str | UnsetType = UNSET


class PlainUpsert(msgspec.Struct, frozen=True, tag_field="action", tag="upsert"):
    """Form 3: plain JSON with `"action": "upsert"`."""

    values: Values
    asset_family: Name | UnsetType = UNSET
    code: Name | UnsetType = UNSET
    context: dict[str, Any] | UnsetType | None = UNSET
    id: str | UnsetType | None = UNSET
    source: str | UnsetType | None = UNSET
    time: str | UnsetType | None = UNSET


class PlainDelete(msgspec.Struct, frozen=True, tag_field="action", tag="delete"):
    """Form 3: plain JSON with `"action": "delete"`."""

    asset_family: Name | UnsetType = UNSET
    code: Name | UnsetType = UNSET
    context: dict[str, Any] | UnsetType | None = UNSET
    id: str | UnsetType | None = UNSET
    source: str | UnsetType | None = UNSET
    time: str | UnsetType | None = UNSET
