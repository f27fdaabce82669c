"""Events as DAMs of product media send them, the same in every run.

There are eight kinds, from 0.3 to 4 KB and 1 KB in the mean: thin updates and whole assets, in the
PIM's long form and in the short one, as plain JSON and as structured and binary CloudEvents. Every
event sets the English caption, by which a bench can recognise it in the PIM.
"""

import json
from collections.abc import Callable, Mapping, Sequence

from service.core.model import Headers
from service.playground.local_system import Event
from service.playground.pim.structure import Attribute, Structure, family

Values = dict[str, object]

CHANNELS = {
    "ecommerce": ["en_US", "fr_FR", "de_DE"],
    "print": ["en_US", "fr_FR", "de_DE"],
}
COLORS = ("red", "purple", "black", "white", "light_blue", "green", "yellow", "grey")
KEYWORDS = tuple(f"{place}_{kind}" for place in ("studio", "outdoor") for kind in "abcdefghij")
PHOTOGRAPHERS = ("ben_levy", "ann_chu", "li_wei", "eva_klein")
SEASONS = ("spring_2026", "summer_2026", "autumn_2026", "winter_2026")
STATUSES = ("draft", "released", "archived")
SENTENCES = {
    "en_US": "Worn on the trail in wet and dry conditions, with a sole that holds on rock. ",
    "fr_FR": "Portée sur le sentier par temps sec ou humide, sa semelle accroche au rocher. ",
    "de_DE": "Auf nassen und trockenen Wegen getragen, die Sohle hält auch auf Fels. ",
}
STRUCTURED: Headers = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
SOURCE = "/dam/acme"
UPDATED = "com.acme.dam.asset.updated.v1"
TIME = "2026-11-23T10:14:59.120Z"


def structure(families: int, *, with_options: bool = True) -> Structure:
    """Return families that differ by their name only and have the attributes of every kind.

    With `with_options=False` they lack the attributes with options: then a structure is read by one
    request instead of six.
    """
    attributes = [one for one in _attributes() if with_options or not one.has_options]
    codes = [family_code(number) for number in range(families)]
    return Structure({code: family(code, *attributes) for code in codes}, CHANNELS)


def family_code(number: int) -> str:
    """Return the code of a family of `structure`."""
    return f"family{number:04}"


def asset_path(family: int, asset: int) -> str:
    """Return `FAMILY/CODE` of an asset, which is the key of its events."""
    return f"{family_code(family)}/asset_{asset:07}"


def corpus_event(
    family: int,
    asset: int,
    kind: int | None = None,
    *,
    caption: str | None = None,
    with_options: bool = True,
) -> Event:
    """Return an upsert of an asset.

    Args:
        family: the number of its family.
        asset: the number of the asset, by which everything else differs too.
        kind: the index in `KINDS`; by default the kinds take turns, in each family.
        caption: the English caption; by default one that names the asset.
        with_options: whether to set attributes with options.
    """
    of_values, of_event = KINDS[(asset // 20 + asset if kind is None else kind) % len(KINDS)]
    values = of_values(asset, caption or f"Side view {asset}")
    if not with_options:
        values = {name: given for name, given in values.items() if name not in _WITH_OPTIONS}
    data = {
        "asset_family": family_code(family),
        "code": f"asset_{asset:07}",
        "values": values,
    }
    value, headers = of_event(asset, data)
    return Event(asset_path(family, asset).encode(), value, headers)


def x_event(family: int, asset: int) -> Event:
    """Return an upsert of 1,000 bytes, most of which are the letter x in one text.

    It stays to compare with earlier pages; it is decoded faster than what DAMs send.
    """
    data = {
        "asset_family": family_code(family),
        "code": f"asset_{asset:07}",
        "values": {
            "photographer": PHOTOGRAPHERS[0],
            "main_colors": [COLORS[0], COLORS[1]],
            "caption": _captions(asset, f"Side view {asset}"),
            "notes": "x" * 749,
        },
    }
    return Event(asset_path(family, asset).encode(), *_plain(asset, data))


def file_event(family: int, asset: int, url: str) -> Event:
    """Return an upsert that gives an asset the file at a URL."""
    data = {
        "asset_family": family_code(family),
        "code": f"asset_{asset:07}",
        "values": {"media": {"url": url}},
    }
    return Event(asset_path(family, asset).encode(), *_plain(asset, data))


def tombstone(family: int, asset: int) -> Event:
    """Return a delete of an asset."""
    return Event(asset_path(family, asset).encode(), None)


def _attributes() -> Sequence[Attribute]:
    return (
        Attribute("caption", value_per_locale=True),
        Attribute("description", value_per_locale=True, value_per_channel=True),
        Attribute("photographer", "single_option", options=_options(PHOTOGRAPHERS)),
        Attribute("main_colors", "multiple_options", options=_options(COLORS)),
        Attribute("keywords", "multiple_options", options=_options(KEYWORDS)),
        Attribute("season", "single_option", options=_options(SEASONS)),
        Attribute("status", "single_option", options=_options(STATUSES)),
        Attribute("dam_url", "media_link", prefix="https://cdn.dam.example/"),
        Attribute("product_ref", max_characters=255),
        Attribute("notes"),
        Attribute("width", "number"),
        Attribute("height", "number"),
        Attribute("file_size_mb", "number", decimals_allowed=True, min_value="0"),
        Attribute("usable", "boolean"),
        Attribute("publish_on", "date"),
        Attribute("media", "media_file"),
    )


def _options(codes: Sequence[str]) -> dict[str, dict[str, str]]:
    return {code: {"en_US": code.replace("_", " ").title()} for code in codes}


_WITH_OPTIONS = frozenset(one.code for one in _attributes() if one.has_options)


# --- values --------------------------------------------------------------------------------------


def _entries(data: object, locale: str | None = None, channel: str | None = None) -> list[object]:
    return [{"locale": locale, "channel": channel, "data": data}]


def _captions(asset: int, caption: str, *more: str) -> list[object]:
    entries = _entries(caption, "en_US")
    for locale in more:
        entries += _entries(f"{SENTENCES[locale][:24]} {asset}", locale)
    return entries


def _whole(asset: int, caption: str) -> Values:
    """Return ten attributes in the PIM's long form, as a DAM's connector writes them."""
    return {
        "label": _captions(asset, f"AB {asset}", "fr_FR"),
        "caption": _captions(asset, caption, "fr_FR", "de_DE"),
        "photographer": _entries(PHOTOGRAPHERS[asset % 4]),
        "main_colors": _entries([COLORS[asset % 8], COLORS[(asset + 3) % 8]]),
        "keywords": _entries([KEYWORDS[(asset + n) % 20] for n in range(5)]),
        "season": _entries(SEASONS[asset % 4]),
        "dam_url": _entries(f"packshots/{asset}/original.tif"),
        "product_ref": _entries(f"boot-{asset},boot-{asset + 1}"),
        "width": _entries(f"{3000 + asset % 1000}"),
        "usable": _entries(asset % 7 > 0),
    }


def _short(asset: int, caption: str) -> Values:
    """Return seven attributes, in the short form wherever it can be used."""
    return {
        "caption": _captions(asset, caption),
        "photographer": PHOTOGRAPHERS[asset % 4],
        "main_colors": [COLORS[asset % 8], COLORS[(asset + 1) % 8]],
        "status": STATUSES[asset % 3],
        "dam_url": f"ambient/{asset}/web.jpg",
        "product_ref": f"boot-{asset}",
        "usable": True,
    }


def _thin(asset: int, caption: str) -> Values:
    """Return the three attributes that a change of state touches."""
    return {
        "caption": _captions(asset, caption),
        "status": STATUSES[asset % 3],
        "usable": asset % 3 == 1,
    }


def _measured(asset: int, caption: str) -> Values:
    """Return eight attributes of which three are JSON numbers."""
    return {
        "caption": _captions(asset, caption, "de_DE"),
        "width": 3000 + asset % 1000,
        "height": 2000 + asset % 700,
        "file_size_mb": round(0.5 + asset % 900 / 17, 2),
        "season": SEASONS[asset % 4],
        "keywords": [KEYWORDS[asset % 20], KEYWORDS[(asset + 7) % 20]],
        "dam_url": f"masters/{asset}.tif",
        "publish_on": "2026-11-23T07:00:00+00:00",
    }


def _texts(asset: int, sentences: int) -> list[object]:
    return [
        {"locale": locale, "channel": channel, "data": f"{asset}: " + sentence * sentences}
        for channel in CHANNELS
        for locale, sentence in SENTENCES.items()
    ]


def _translated(asset: int, caption: str) -> Values:
    """Return texts for three locales and two channels, beside three other attributes."""
    return {
        "caption": _captions(asset, caption, "fr_FR", "de_DE"),
        "description": _texts(asset, 1),
        "product_ref": _entries(f"boot-{asset}"),
        "status": _entries(STATUSES[asset % 3]),
    }


def _long(asset: int, caption: str) -> Values:
    """Return twelve attributes with long texts, of a catalogue's main picture."""
    return {
        **_whole(asset, caption),
        "description": _texts(asset, 4),
        "notes": _entries(f"Approved for print by the brand team. {asset}"),
    }


def _erased(asset: int, caption: str) -> Values:
    """Return five attributes of which three are erased."""
    return {
        "caption": _captions(asset, caption),
        "season": None,
        "main_colors": [],
        "notes": None,
        "status": STATUSES[2],
    }


def _rights(asset: int, caption: str) -> Values:
    """Return six attributes in the long form, set when rights were cleared."""
    return {
        "caption": _captions(asset, caption, "fr_FR"),
        "usable": _entries(data=True),
        "status": _entries("released"),
        "publish_on": _entries("2026-11-23T07:00:00+00:00"),
        "photographer": _entries(PHOTOGRAPHERS[asset % 4]),
        "notes": _entries(f"Rights cleared until 2031 under contract {asset % 911}."),
    }


# --- events --------------------------------------------------------------------------------------


def _plain(asset: int, data: Mapping[str, object]) -> tuple[bytes, Headers]:
    return json.dumps({"action": "upsert", "id": f"evt-{asset}", **data}).encode(), ()


def _structured(asset: int, data: Mapping[str, object]) -> tuple[bytes, Headers]:
    event = {
        "specversion": "1.0",
        "id": f"evt-{asset}",
        "source": SOURCE,
        "type": UPDATED,
        "time": TIME,
        "subject": f"{data['asset_family']}/{data['code']}",
        "datacontenttype": "application/json",
        "data": {**data, "context": {"dam_id": f"0A3C-{asset}"}},
    }
    return json.dumps(event, ensure_ascii=False).encode(), STRUCTURED


def _binary(asset: int, data: Mapping[str, object]) -> tuple[bytes, Headers]:
    headers = (
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", f"evt-{asset}".encode()),
        ("ce_source", SOURCE.encode()),
        ("ce_type", UPDATED.encode()),
        ("ce_time", TIME.encode()),
    )
    return json.dumps(data, separators=(",", ":")).encode(), headers


Kind = tuple[
    Callable[[int, str], Values],
    Callable[[int, Mapping[str, object]], tuple[bytes, Headers]],
]
"""How the values of an event and the event itself are made."""

KINDS: Sequence[Kind] = (
    (_whole, _structured),
    (_short, _plain),
    (_thin, _plain),
    (_measured, _structured),
    (_translated, _binary),
    (_long, _structured),
    (_erased, _binary),
    (_rights, _plain),
)
"""The eight kinds of events."""
