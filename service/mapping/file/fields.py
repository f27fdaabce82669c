"""The base class of all parts of the sources file, and the types of their fields.

Rule 1: whatever may be written in several ways has one form after validation, so that an error has
one message and the compiler has one case.
Rule 2: a key without a value is refused, because it is more often forgotten than meant.
"""

import math
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from service.contracts.sizes import parse_size


def _check_file_name(name: str) -> str:
    if "\0" in name:
        raise ValueError("has a NUL character, which no file name has")
    return name


Text = Annotated[str, Field(min_length=1)]
FileName = Annotated[Text, AfterValidator(_check_file_name)]
Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=int | str)]

_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"
_SECRET = r"^[A-Za-z][A-Za-z0-9_]{0,62}$"  # noqa: S105 - a pattern
_SOURCE = r"^[a-z][a-z0-9_-]{0,62}$"
_CODE = r"^[^/\s]([^/\x00-\x1f\x7f-\x9f]{0,253}[^/\s])?$"
_PATH = r"^(/[A-Za-z0-9._~-]+)+$"

PATTERNS = {
    _TOPIC: "the name of a topic: at most 249 letters, digits, '.', '_' or '-'",
    _HEADER: "the name of an HTTP header",
    _SECRET: "the name of a secret: a letter, then at most 62 letters, digits or '_'",
    _SOURCE: "a letter, then at most 62 letters, digits, '_' or '-', all in lower case",
    _CODE: "1 to 255 characters without '/' and without white space at either end",
    _PATH: "a path such as /bynder, of letters, digits, '.', '_', '~' and '-'",
}
"""In words, what the patterns of the fields ask for."""

Topic = Annotated[str, Field(pattern=_TOPIC)]
HeaderName = Annotated[str, Field(pattern=_HEADER)]
SourceName = Annotated[str, Field(pattern=_SOURCE)]
FamilyCode = Annotated[str, Field(pattern=_CODE)]
UrlPath = Annotated[str, Field(pattern=_PATH, max_length=255)]

SecretName = Annotated[
    str,
    Field(
        pattern=_SECRET,
        description="Name of a secret: a file of this name in ASSET_SYNC_SECRETS_DIR, or the "
        "variable ASSET_SYNC_SECRET__NAME.",
    ),
]
"""A name is both a file name and the end of a variable, hence its few characters."""


EXACTLY_ONE = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})
"""For maps whose keys exclude one another: what an editor can check of that."""


class Part(BaseModel):
    """A map in the sources file with known keys; it cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    may_be_null: ClassVar[frozenset[str]] = frozenset()
    """The fields for which null is a value."""

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_a_key_without_value(cls, given: object, info: ValidationInfo) -> object:
        if given is None and info.field_name not in cls.may_be_null:
            raise ValueError("has no value: give one, or remove the key")
        return given


def as_list(given: object) -> object:
    """Return a list as it is, and anything else as the only element of a list."""
    return given if isinstance(given, list) else [given]


def _constant(given: object) -> object:
    """Return a constant with numbers as text, which is how the PIM gets them."""
    match given:
        case None | bool() | str():
            return given
        case int() | float() if math.isfinite(given):
            return str(given)
        case list() if all(isinstance(element, str) for element in given):
            return given
        case _:
            raise ValueError("should be a text, a number, true, false, null or a list of texts")


def _target(given: object) -> object:
    if isinstance(given, str):
        return given
    if isinstance(given, list) and given and all(isinstance(element, str) for element in given):
        return given
    raise ValueError("should be a text or a list of texts; put numbers into quotes")


TEXT_OR_TEXTS: dict[str, Any] = {
    "title": "text or list of texts",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}

Constant = Annotated[
    str | bool | list[str] | None,
    PlainValidator(_constant),
    WithJsonSchema(
        {
            "title": "constant",
            "anyOf": [
                {"type": ["string", "number", "boolean", "null"]},
                {"type": "array", "items": {"type": "string"}},
            ],
        }
    ),
]
"""A text, a number, true, false, null, or a list of texts.

A number is kept as text, exactly as it was written.
"""

Texts = Annotated[
    list[str], Field(min_length=1), BeforeValidator(as_list), WithJsonSchema(TEXT_OR_TEXTS)
]
"""One text or several alternatives."""

Table = Annotated[
    dict[str, Annotated[str | list[str], PlainValidator(_target), WithJsonSchema(TEXT_OR_TEXTS)]],
    Field(min_length=1),
]
"""A look-up table: what stands in an event, and the one or several texts that it becomes."""

_SecretNames = Annotated[list[SecretName], Field(min_length=1)]
Secrets = Annotated[
    _SecretNames, BeforeValidator(as_list, json_schema_input_type=SecretName | _SecretNames)
]
"""The names of a secret and of those that it replaces or that replace it: each is accepted."""
