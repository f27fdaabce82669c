"""The change event (contract.md §4) as types, from which its JSON Schema is made.

The service reads events with `core.read.decode` and `core.read.convert` instead, which accept more
and explain what is wrong. `tests/contract/test_schemas.py` runs both on the same examples.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

NAME_CHARACTERS_MAX = 255
"""How many characters a family code or an asset code may have."""

CONTEXT_BYTES_MAX = 4 * 1024
"""How many bytes of JSON `context` may have in the event."""

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=NAME_CHARACTERS_MAX,
        pattern=r"^(?!\s)[^/\u0000-\u001f\u007f-\u009f]*[^/\s\u0000-\u001f\u007f-\u009f]$",
        description="Without `/` and control characters; no white space at either end.",
    ),
]

Scalar = str | float | bool | None
"""A single value; a number is sent to the PIM as text, exactly as it was written."""


URL_CHARACTERS_MAX = 8_000
FILE_NAME_CHARACTERS_MAX = 1_000


class FileValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file to fetch and to upload to the PIM, for attributes of type `media_file`."""

    url: Annotated[str, Meta(min_length=1, max_length=URL_CHARACTERS_MAX)]
    name: Annotated[str, Meta(max_length=FILE_NAME_CHARACTERS_MAX)] | None = None
    sha256: Annotated[str, Meta(pattern="^[0-9A-Fa-f]{64}$")] | None = None


class AssetValue(msgspec.Struct, frozen=True):
    """One value in the PIM's own shape. An absent locale or channel means null."""

    data: Scalar | list[str] | FileValue
    locale: str | None = None
    channel: str | None = None


Values = dict[str, Scalar | list[AssetValue | str] | FileValue]
"""By attribute code: a list in the PIM's shape, or a bare value.

A bare value is short for one entry without locale and channel. A list has either entries or
strings, never both.
"""


class ChangeData(msgspec.Struct, frozen=True):
    """The asset to change and its new values; an upsert must have `values`."""

    values: Values | UnsetType = UNSET
    asset_family: Name | UnsetType = UNSET
    code: Name | UnsetType = UNSET
    context: dict[str, Any] | UnsetType | None = UNSET


class CloudEvent(msgspec.Struct, frozen=True):
    """Form 1: a CloudEvent 1.0 in structured mode. Other attributes are allowed."""

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
        Annotated[str, Meta(description="The same JSON in Base64, instead of `data`.")]
        | UnsetType
        | None
    ) = UNSET
    datacontenttype: str | UnsetType | None = UNSET
    subject: Annotated[str, Meta(description="May name the asset: FAMILY/CODE.")] | UnsetType = (
        UNSET
    )
    time: str | UnsetType = UNSET


class PlainUpsert(msgspec.Struct, frozen=True, tag_field="action", tag="upsert"):
    """Form 3: plain JSON with `"action": "upsert"`, an asset and its new values."""

    values: Values
    asset_family: Name | UnsetType = UNSET
    code: Name | UnsetType = UNSET
    context: dict[str, Any] | UnsetType | None = UNSET
    id: str | UnsetType | None = UNSET
    source: str | UnsetType | None = UNSET
    time: str | UnsetType | None = UNSET


class PlainDelete(msgspec.Struct, frozen=True, tag_field="action", tag="delete"):
    """Form 3: plain JSON with `"action": "delete"` and the asset to delete."""

    asset_family: Name | UnsetType = UNSET
    code: Name | UnsetType = UNSET
    context: dict[str, Any] | UnsetType | None = UNSET
    id: str | UnsetType | None = UNSET
    source: str | UnsetType | None = UNSET
    time: str | UnsetType | None = UNSET
