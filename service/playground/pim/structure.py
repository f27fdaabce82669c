"""The structure of a PIM: families, attributes, options, channels (akeneo.md §4.2, §5)."""

from typing import Literal

import msgspec

ATTRIBUTES_MAX = 100
OPTIONS_MAX = 100

AttributeType = Literal[
    "text",
    "number",
    "single_option",
    "multiple_options",
    "media_link",
    "media_file",
    "boolean",
    "date",
    "record",
]


class Attribute(msgspec.Struct, omit_defaults=False):
    """One attribute; properties that do not belong to its type are ignored."""

    code: str
    type: AttributeType = "text"
    labels: dict[str, str] = {}
    value_per_locale: bool = False
    value_per_channel: bool = False
    is_required_for_completeness: bool = False
    is_read_only: bool = False
    max_characters: int | None = None
    validation_rule: Literal["none", "email", "url", "regexp"] = "none"
    validation_regexp: str | None = None
    decimals_allowed: bool = False
    min_value: str | None = None
    max_value: str | None = None
    media_type: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    allowed_extensions: list[str] = []
    max_file_size: str | None = None
    """In MB."""
    options: dict[str, dict[str, str]] = {}
    """Option code → labels; options have routes of their own."""

    @property
    def has_options(self) -> bool:
        """Whether the data of this attribute are codes of options."""
        return self.type in {"single_option", "multiple_options"}


class Family(msgspec.Struct):
    """One asset family; where `attributes` is None it takes any value (for load tests)."""

    code: str
    attributes: dict[str, Attribute] | None = None
    labels: dict[str, str] = {}
    attribute_as_main_media: str = "media"


class Structure(msgspec.Struct):
    """Families and channels; each channel has a list of its activated locales."""

    families: dict[str, Family]
    channels: dict[str, list[str]] = msgspec.field(
        default_factory=lambda: {"ecommerce": ["en_US", "fr_FR"], "print": ["en_US"]}
    )

    @property
    def locales(self) -> frozenset[str]:
        """The locales that are activated for at least one channel."""
        return frozenset(locale for locales in self.channels.values() for locale in locales)


def family(code: str, *attributes: Attribute) -> Family:
    """Return a family with these attributes and the `label` that every family has."""
    label = Attribute("label", value_per_locale=True)
    return Family(code, {attribute.code: attribute for attribute in (label, *attributes)})


def sample() -> Structure:
    """Return four families, as a DAM of product media needs them."""
    colors = {code: {"en_US": code.title()} for code in ("red", "purple", "black", "white", "blue")}

    def media(code: str) -> Family:
        return family(
            code,
            Attribute("photographer", max_characters=100),
            Attribute("main_colors", "multiple_options", options=dict(colors)),
            Attribute("usage", "single_option", options={"web": {}, "print": {}}),
            Attribute("caption", value_per_locale=True, value_per_channel=True),
            Attribute("dam_url", "media_link", prefix="https://cdn.dam.example/"),
            Attribute("media", "media_file", allowed_extensions=["jpg", "png", "mp4", "pdf"]),
            Attribute("pages", "number", min_value="0"),
            Attribute("usable", "boolean"),
            Attribute("publish_on", "date"),
            Attribute("product_ref"),
        )

    codes = ("packshots", "ambient", "videos", "manuals")
    return Structure({code: media(code) for code in codes})


def free(*codes: str) -> Structure:
    """Return families that take any value."""
    return Structure({code: Family(code) for code in codes})
