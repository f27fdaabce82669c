"""Conditions of the sources file: `{path: comparison, …}`, or a list of such maps."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from service.mapping.file.fields import Part, Texts, as_list


def _scalar(given: object) -> object:
    if given is None or isinstance(given, str | bool | int | float):
        return given
    raise ValueError("should be a text, a number, true, false or null, or a list of them")


_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_SCALARS = {
    "title": "scalar or list of scalars",
    "anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}],
}
Scalar = Annotated[
    str | bool | int | float | None, PlainValidator(_scalar), WithJsonSchema(_SCALAR)
]
Scalars = Annotated[
    list[Scalar], Field(min_length=1), BeforeValidator(as_list), WithJsonSchema(_SCALARS)
]


class Comparison(Part):
    """What the value of a path is compared with; all given comparisons must hold.

    For a list in the event, one element must pass; with `not`, the whole list must fail the test.
    """

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    may_be_null: ClassVar[frozenset[str]] = frozenset({"equals", "not_"})

    equals: Scalars | None = Field(
        None, description="Equal to one of these. Types count: 1 is not the text '1'."
    )
    prefix: Texts | None = Field(None, description="A text that begins with one of these.")
    suffix: Texts | None = Field(None, description="A text that ends with one of these.")
    contains: Texts | None = Field(None, description="A text that contains one of these.")
    matches: Texts | None = Field(
        None, description="A text in which one of these RE2 patterns is found."
    )
    above: float | None = Field(None, description="A number above this one.")
    below: float | None = Field(None, description="A number below this one.")
    exists: bool | None = Field(
        None, description="true: the event has a value here that is not null. false: it has none."
    )
    not_: "ComparisonField | None" = Field(
        None, alias="not", description="A comparison that must not hold."
    )
    ignore_case: bool = Field(default=False, description="Compare texts without regard to case.")

    @field_validator("not_", mode="before")
    @classmethod
    def _compare_with_null_too(cls, given: object) -> object:
        return _as_comparison(given)

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if not self.model_fields_set - {"ignore_case"}:
            raise ValueError("compares with nothing: name equals, prefix, suffix, contains, …")
        return self


def _as_comparison(given: object) -> object:
    """Return a scalar or a list in its long form, `equals`."""
    return given if isinstance(given, dict) else {"equals": given}


ComparisonField = Annotated[
    Comparison,
    BeforeValidator(
        _as_comparison,
        json_schema_input_type=Comparison | Annotated[Any, WithJsonSchema(_SCALARS)],
    ),
]

Alternative = Annotated[dict[str, ComparisonField], Field(min_length=1)]
"""Comparisons by path, which must all hold."""

_Alternatives = Annotated[list[Alternative], Field(min_length=1)]
_Written = Annotated[Alternative | _Alternatives, Field(title="condition")]
Condition = Annotated[_Alternatives, BeforeValidator(as_list, json_schema_input_type=_Written)]
"""Alternatives, of which one must hold."""

Comparison.model_rebuild()
