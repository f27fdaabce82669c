"""Values of the sources file: where a value comes from, and the steps that change it.

The steps are applied in the order of the fields here, whatever their order in the file.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from service.mapping.file.condition import Condition
from service.mapping.file.fields import Constant, Part, Table, Text

Missing = Literal["leave", "erase", "reject", "skip"]
"""What an absent value means: nothing, null, `unmappable`, or that the change is skipped."""

_STEPS_NEED = {"give": "extract", "otherwise": "table", "zone": "date"}


def _with_one_source(schema: dict[str, Any], model: type["Value"]) -> None:
    """Let an editor see that a value has one source, and which steps need another."""
    schema["oneOf"] = [{"required": [name]} for name in model.sources if name != "each"]
    needs = {**_STEPS_NEED, "each": "path"}
    schema["dependentRequired"] = {
        step: [needed] for step, needed in needs.items() if step in schema["properties"]
    }


class Upload(Part):
    """A file that is uploaded to the PIM; each text is a template if it has braces, else a path."""

    url: Text = Field(description="Address of the file.")
    name: Text | None = Field(
        None, description="Name of the file in the PIM; default: the last part of the URL."
    )
    sha256: Text | None = Field(
        None, description="SHA-256 of the file in hexadecimal; another content is refused."
    )


def _table(given: object) -> object:
    return {"inline": given} if isinstance(given, dict) else {"name": given}


class TableRef(Part):
    """A look-up table: the name of one under `tables`, or the table itself."""

    name: Text | None = None
    inline: Table | None = None


TableField = Annotated[TableRef, BeforeValidator(_table, json_schema_input_type=Text | Table)]


class Value(Part):
    """A value with exactly one source and any steps."""

    model_config = ConfigDict(json_schema_extra=_with_one_source)

    may_be_null: ClassVar[frozenset[str]] = frozenset({"const", "default"})
    sources: ClassVar[tuple[str, ...]] = ("path", "first_of", "const", "template")

    path: Text | None = Field(None, description="Path of the value in the event (JMESPath).")
    first_of: Annotated[list[Text], Field(min_length=1)] | None = Field(
        None, description="Paths; the first one that is neither absent nor empty gives the value."
    )
    const: Constant = Field(None, description="The value itself; null erases.")
    template: Text | None = Field(
        None,
        description="Text with paths in braces, such as '{bucket}/{key|url}'. Absent where one of "
        "them is absent; |url percent-encodes; {{ and }} are braces.",
    )
    when: Condition | None = Field(
        None, description="The value is used only if this condition holds."
    )
    decode: Literal["url"] | None = Field(
        None, description="Decode + and %xx, which must be UTF-8."
    )
    part: Literal["name", "stem", "extension", "folder", "top"] | None = Field(
        None, description="Part of a path with slashes: its last name, that without or only its "
        "extension, everything before the last slash, or its first folder."
    )  # fmt: skip
    extract: Text | None = Field(
        None,
        description="RE2 pattern; its first match, or the first group of it. Without a match, the "
        "value is absent.",
    )
    give: Text | None = Field(
        None,
        description="What `extract` gives, with its named groups in braces: '{year}-{number}'.",
    )
    strip_prefix: Text | None = Field(None, description="Remove this beginning.")
    strip_suffix: Text | None = Field(None, description="Remove this end.")
    replace: Annotated[dict[str, str], Field(min_length=1)] | None = Field(
        None, description="Replace each of these texts, in this order."
    )
    split: Text | None = Field(
        None, description="Split at this text into a list; parts are trimmed, empty ones dropped."
    )
    table: TableField | None = Field(
        None, description="Look the text up: the name of a table, or a table."
    )
    otherwise: Literal["reject", "drop", "keep"] = Field(
        "reject",
        description="What a text means that the table does not have: reject the event as "
        "unmappable, drop the text, or keep it.",
    )
    case: Literal["lower", "upper"] | None = Field(None, description="Change the case.")
    multiply: float | None = Field(None, description="Multiply a number (decimal arithmetic).")
    decimals: Annotated[int, Field(ge=0, le=30)] | None = Field(
        None, description="Round a number to this many decimals, half to even."
    )
    date: Text | None = Field(
        None,
        description="Read a date or time: iso, epoch_s, epoch_ms, epoch_us, epoch_days or a "
        "format of strptime. The value becomes YYYY-MM-DDThh:mm:ss+00:00.",
    )
    zone: Text = Field("UTC", description="Time zone of a time without offset.")
    as_: Literal["code", "slug", "text", "number", "boolean", "list"] | None = Field(
        None,
        alias="as",
        description="code: a valid asset code; what is changed gets a hash, so that two ids stay "
        "two. slug: lower case letters, digits and _, for option codes. Or the type to make.",
    )
    join: str | None = Field(None, description="Join a list into one text with this between.")
    cut: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Cut a text after this many characters; a cut text ends in …"
    )
    default: Constant = Field(None, description="Used where the value is absent or empty.")

    @property
    def has_const(self) -> bool:
        return "const" in self.model_fields_set

    @property
    def has_default(self) -> bool:
        return "default" in self.model_fields_set

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        given = [name for name in self.sources if name in self.model_fields_set]
        if len(given) != 1 and set(given) != {"each", "path"}:
            raise ValueError(f"needs exactly one of {', '.join(self.sources)}")
        if given == ["each"]:
            raise ValueError("`each` needs `path`, which starts from the item")
        for step, needed in _STEPS_NEED.items():
            if {step, needed} & self.model_fields_set == {step}:
                raise ValueError(f"`{step}` needs `{needed}`")
        return self


def _as_value(given: object) -> object:
    """Return a text in its long form, `path`."""
    return {"path": given} if isinstance(given, str) else given


ValueField = Annotated[Value, BeforeValidator(_as_value, json_schema_input_type=str | Value)]


def _code(given: object) -> object:
    """Return a locale or channel code as the constant that it is."""
    return {"const": given} if isinstance(given, str) else given


Scope = Annotated[Value, BeforeValidator(_code, json_schema_input_type=str | Value)]
"""A locale or a channel: its code, or a value that gives it."""


class AttributeValue(Value):
    """A value of one attribute, with the locale and the channel that it is for."""

    sources: ClassVar[tuple[str, ...]] = (*Value.sources, "file", "each")

    file: Upload | None = Field(None, description="A file that is uploaded to the PIM.")
    each: Text | None = Field(
        None,
        description="Path of a list or an object: one entry for each item. `path`, `locale` and "
        "`channel` start from the item.",
    )
    missing: Missing | None = Field(None, description="What an absent value means, only here.")
    locale: Scope | None = Field(None, description="Locale code, or a value that gives it.")
    channel: Scope | None = Field(None, description="Channel code, or a value that gives it.")

    @model_validator(mode="after")
    def _changes_no_file(self) -> Self:
        steps = self.model_fields_set - {"file", "when", "missing", "locale", "channel"}
        if self.file is not None and steps:
            names = ", ".join(f"`{name.rstrip('_')}`" for name in sorted(steps))
            raise ValueError(f"`file` cannot be changed by {names}")
        return self


def _as_values(given: object) -> object:
    return [_as_value(each) for each in given] if isinstance(given, list) else [_as_value(given)]


_ONE = str | AttributeValue
_SEVERAL = Annotated[list[_ONE], Field(min_length=1)]
_Entries = Annotated[
    list[AttributeValue],
    Field(min_length=1),
    BeforeValidator(_as_values, json_schema_input_type=_ONE | _SEVERAL),
]
Values = Annotated[dict[Text, _Entries], Field(min_length=1)]
"""By attribute code; a list fills several locales and channels."""

Constants = Annotated[dict[Text, Constant], Field(min_length=1)]
"""Constant values by attribute code."""
