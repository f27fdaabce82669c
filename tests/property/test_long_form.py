"""Judging values as JSON gives what taking them apart gives (long_form.py, rule 2)."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from msgspec import Raw

from service.core import long_form as subject
from service.core.group.asset_work import AssetWork
from service.core.group.shape import Structure, shape
from service.core.long_form import LongForm
from service.core.model import Asset, AssetChange, Change, Rejection, UpsertAsset
from service.core.read.convert import convert
from service.core.read.value_forms import taken_apart
from service.core.values import Attribute, Values
from tests.support.builders import decoded, plain

COLORS = frozenset({"red", "purple", "Ünï"})
ATTRIBUTES = (
    Attribute("title", "text"),
    Attribute("short", "text", characters_max=5),
    Attribute("label", "text", per_locale=True),
    Attribute("caption", "text", per_locale=True, per_channel=True),
    Attribute("color", "single_option"),
    Attribute("colors", "multiple_options"),
    Attribute("shades", "multiple_options", per_channel=True),
    Attribute("hidden", "single_option"),
    Attribute("empty", "multiple_options"),
    Attribute("usable", "boolean"),
    Attribute("url", "media_link"),
    Attribute("file", "media_file"),
    Attribute("on", "date"),
    Attribute("brand", "record"),
    Attribute("pages", "number", takes_decimals=False),
    Attribute("size", "number", takes_decimals=True, least="0"),
    Attribute("share", "number", takes_decimals=True, least="1", most="9"),
    Attribute("depth", "number", per_locale=True),
    Attribute("odd type", "table"),
    Attribute("0-ö \"'", "text"),
)
OPTIONS = dict.fromkeys(("color", "colors", "shades"), COLORS) | {"empty": frozenset[str]()}
STRUCTURE = Structure({one.code: one for one in ATTRIBUTES}, OPTIONS)

texts = st.sampled_from(["", "red", "purple", "Red", "sixsix", "12", "-0", "true"]) | st.text()
numbers = (
    st.sampled_from([0, 1.5, 10**20, 1e300]) | st.integers(-20, 20) | st.floats(-9, 9).map(float)
)
data = texts | numbers | st.booleans() | st.none() | st.lists(texts, max_size=3)
scopes = st.none() | st.sampled_from(["en_US", "fr_FR", ""])
entries = st.fixed_dictionaries(
    {"data": data}, optional={"locale": scopes, "channel": scopes, "more": st.just(1)}
)
whole_entries = st.fixed_dictionaries({"locale": scopes, "channel": scopes, "data": data})
usual = st.lists(whole_entries, min_size=1, max_size=3)
given_values = data | usual | st.lists(entries | texts, max_size=3)
codes = st.sampled_from([*STRUCTURE.attributes, "unknown"])


def fitting(attribute: Attribute) -> st.SearchStrategy[object]:
    """Return data that the attribute takes, often in the long form with its locale and channel."""
    of_type = {
        "boolean": st.booleans(),
        "number": st.integers(0, 9).map(str),
        "single_option": st.sampled_from(sorted(COLORS)),
        "multiple_options": st.lists(st.sampled_from(sorted(COLORS)), min_size=1, max_size=3),
        "media_file": st.sampled_from(["a/code", {"url": "https://cdn.example/a.jpg"}]),
    }
    datum = of_type.get(attribute.type, st.text(max_size=5)) | st.none()
    locale = st.sampled_from(["en_US", "fr_FR"]) if attribute.per_locale else st.none()
    channel = st.sampled_from(["web", "print"]) if attribute.per_channel else st.none()
    entry = st.fixed_dictionaries({"locale": locale, "channel": channel, "data": datum})
    return datum | st.lists(entry, min_size=1, max_size=2)


@st.composite
def all_values(draw: st.DrawFn) -> dict[str, object]:
    """Return values most of which fit the structure."""
    fit = {code: fitting(one) for code, one in STRUCTURE.attributes.items()}
    chosen = draw(st.lists(codes, unique=True, max_size=5))
    is_odd = draw(st.booleans())
    return {code: draw(given_values if is_odd or code not in fit else fit[code]) for code in chosen}


@pytest.fixture(autouse=True)
def compile_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile for the first event of a family."""
    monkeypatch.setattr(subject, "COMPILED_AFTER_EVENTS", 0)


def change(text: bytes) -> AssetChange:
    return AssetChange("upsert", Asset("f", "c"), decoded(plain()).event, Raw(text))


@pytest.mark.slow
@given(
    values=all_values(),
    is_ascii=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_both_ways_agree(*, values: dict[str, object], is_ascii: bool, indent: int | None) -> None:
    """What is judged at once has no flaw, and the PIM gets the same values."""
    text = json.dumps(values, ensure_ascii=is_ascii, indent=indent).encode("utf-8", "surrogatepass")
    quick = convert(change(text), long_form=STRUCTURE.long_form)
    careful = convert(change(text))
    is_quick = isinstance(quick, UpsertAsset) and quick.judged_by is not None
    event(f"at once: {is_quick}")
    if not is_quick:
        assert quick == careful
        return
    assert isinstance(quick, UpsertAsset)
    assert isinstance(quick.values, Raw)
    assert isinstance(careful, UpsertAsset)
    shaped = shape(taken_apart(careful.values), STRUCTURE, None)
    assert not shaped.flaws
    assert json.loads(bytes(quick.values)) == json.loads(msgspec.json.encode(shaped.values))
    assert taken_apart(quick.values) == json_order(shaped.values, quick.values)
    assert quick.size >= len(quick.values)


def json_order(values: Values, text: Raw) -> Values:
    """Return the same values in the order in which the JSON has them."""
    return {code: values[code] for code in json.loads(bytes(text))}


LONG: dict[str, list[object]] = {
    "label": [{"locale": "en_US", "channel": None, "data": "A"}],
    "colors": [{"locale": None, "channel": None, "data": ["red"]}],
    "pages": [{"locale": None, "channel": None, "data": "12"}],
    "usable": [{"locale": None, "channel": None, "data": None}],
}


def test_the_long_form_is_passed_on_untouched() -> None:
    """Byte for byte, also where the JSON has blanks."""
    text = Raw(json.dumps(LONG, indent=2).encode())
    assert STRUCTURE.long_form.of(text) is text


def only(datum: object) -> list[object]:
    return [{"locale": None, "channel": None, "data": datum}]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ('{"title": "A"}', {"title": only("A")}),
        ('{"color": "red", "usable": false}', {"color": only("red"), "usable": only(datum=False)}),
        ('{"colors": ["red", "purple"]}', {"colors": only(["red", "purple"])}),
        ('{"title": null, "url": []}', {"title": only(None), "url": only(None)}),
        ('{"colors": []}', {"colors": only(None)}),
        ('{"pages": 12, "size": 0.50}', {"pages": only("12"), "size": only("0.50")}),
        ('{"pages": -0}', {"pages": only("-0")}),
        ('{"size": "007.10"}', {"size": only("007.10")}),
    ],
)  # fmt: skip
def test_the_short_form_becomes_the_long_one(short: str, long: object) -> None:
    """Without the careful way, and numbers exactly as written."""
    found = STRUCTURE.long_form.of(Raw(short.encode()))
    assert found is not None
    assert json.loads(bytes(found)) == long


@pytest.mark.parametrize(
    "values",
    [
        '{"unknown": "A"}',
        '{"label": "needs a locale"}',
        '{"title": [{"locale": "en_US", "channel": null, "data": "A"}]}',
        '{"title": [{"data": "no locale, no channel"}]}',
        '{"short": "sixsix"}',
        '{"color": "teal"}',
        '{"colors": ["red", "teal"]}',
        '{"empty": ["red"]}',
        '{"usable": "true"}',
        '{"pages": 1.5}',
        '{"pages": 1e3}',
        '{"size": -1}',
        '{"share": 10}',
        '{"pages": [{"locale": null, "channel": null, "data": 12}]}',
        '{"colors": [{"locale": null, "channel": null, "data": []}]}',
        '{"colors": ["red", {"locale": null, "channel": null, "data": ["red"]}]}',
        '{"label": [%s, %s]}' % ((json.dumps(LONG["label"][0]),) * 2),
        '{"title": "\\ud800"}',
        '{"file": {"url": "https://cdn.example/a.jpg"}}',
        '{"file": [{"locale": null, "channel": null, "data": {"url": "https://cdn.example/a.jpg"}}]}',
        "[]",
    ],
)
def test_flaws_and_doubts_go_the_careful_way(values: str) -> None:
    """Nothing is rejected here: the careful way says what is wrong."""
    assert STRUCTURE.long_form.of(Raw(values.encode())) is None


@pytest.mark.parametrize("surplus", [0, 1])
def test_large_values_go_the_careful_way(surplus: int) -> None:
    """It measures the memory that they occupy."""
    text = "x" * (subject.LONG_FORM_BYTES_MAX - len('{"title": ""}') + surplus)
    found = STRUCTURE.long_form.of(Raw(json.dumps({"title": text}).encode()))
    assert (found is None) is bool(surplus)
    assert STRUCTURE.long_form.of(Raw(json.dumps({"title": text[:-20]}).encode())) is not None


def test_a_family_is_compiled_when_it_has_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A family with few events is not worth it."""
    monkeypatch.setattr(subject, "COMPILED_AFTER_EVENTS", 3)
    made = LongForm(STRUCTURE.attributes, OPTIONS)
    found = [made.of(Raw(b'{"title": "A"}')) is not None for _ in range(5)]
    assert found == [False, False, False, True, True]


@pytest.mark.parametrize(
    "attributes",
    [
        {f"a{n}": Attribute(f"a{n}", "text") for n in range(subject.ATTRIBUTES_MAX + 1)},
        {"a0": Attribute("a0", "table")},
        {"a0": Attribute("a0", "number", least="NaN")},
        {},
    ],
)
def test_a_structure_that_cannot_be_compiled(attributes: dict[str, Attribute]) -> None:
    """Its values go the careful way."""
    assert LongForm(attributes, {}).of(Raw(b'{"a0": "1"}')) is None


def test_an_answer_of_the_pim_cannot_break_the_compilation() -> None:
    """Limits come from the PIM's answer, which may hold any number."""
    huge = Attribute("a", "text", characters_max=10**99)
    assert LongForm({"a": huge}, {}).of(Raw(b'{"a": "1"}')) is not None
    least = Attribute("a", "number", least=str(Decimal(-(10**30))))
    assert LongForm({"a": least}, {}).of(Raw(b'{"a": 1}')) is not None
    many = frozenset(f"option_{n}" for n in range(subject.OPTIONS_MAX + 1))
    options = Attribute("a", "single_option")
    assert LongForm({"a": options}, {"a": many}).of(Raw(b'{"a": "option_1"}')) is None


def test_values_are_sent_as_they_are_by_the_structure_that_judged_them() -> None:
    """Another one may take other values."""
    command = convert(change(b'{"title": "A"}'), long_form=STRUCTURE.long_form)
    assert isinstance(command, UpsertAsset)
    work = AssetWork.of(command.asset, [admitted(command)], 1000)
    assert work.is_judged_by(STRUCTURE)
    assert work.is_shaped
    assert work.body() is command
    assert not work.is_judged_by(structure_of(Attribute("title", "number")))
    assert work.is_judged_by(structure_of(Attribute("title", "text")))
    assert work.body().values == command.values


def structure_of(*attributes: Attribute) -> Structure:
    """A structure without options."""
    return Structure({one.code: one for one in attributes}, {})


def work_on(*texts: bytes, long_form: LongForm | None = None) -> AssetWork:
    """The work on an asset whose changes have these values."""
    commands = [convert(change(text), long_form=long_form) for text in texts]
    upserts = [admitted(one) for one in commands if isinstance(one, UpsertAsset)]
    assert len(upserts) == len(texts)
    return AssetWork.of(Asset("f", "c"), upserts, 10**6)


@given(values=st.lists(all_values(), min_size=1, max_size=3))
def test_values_that_came_before_the_structure_are_judged_as_later_ones(
    values: list[dict[str, object]],
) -> None:
    """The PIM gets the same from both; and what the structure does not take stays as it was."""
    texts = [json.dumps(one).encode() for one in values]
    if any(isinstance(convert(change(text)), Rejection) for text in texts):
        return
    early, late = work_on(*texts), work_on(*texts, long_form=STRUCTURE.long_form)
    is_judged = late.is_judged_by(STRUCTURE)
    event(f"judged: {is_judged}")
    assert early.is_judged_by(STRUCTURE) is is_judged
    if not is_judged:
        for work in (early, late):
            work.shape(STRUCTURE, None)
        assert early.flaws == late.flaws
    assert written(early) == written(late)


def written(work: AssetWork) -> object:
    """The values that the PIM gets."""
    return json.loads(msgspec.json.encode(work.body().values))


@pytest.mark.parametrize("count", [1, 2])
def test_without_a_structure_the_pim_gets_the_long_form_as_well(count: int) -> None:
    """It does not read the short one (akeneo.md §4.1)."""
    texts = [b'{"title": "A", "pages": 12}', b'{"usable": true}'][:count]
    expected = {"title": only("A"), "pages": only("12")}
    work = work_on(*texts)
    assert not work.is_shaped
    assert written(work) == (expected if count == 1 else expected | {"usable": only(datum=True)})


def test_one_change_that_cannot_be_judged_lets_all_be_taken_apart() -> None:
    texts = b'{"title": "A"}', b'{"label": "needs a locale"}'
    for order in (texts, texts[::-1]):
        assert not work_on(*order, long_form=STRUCTURE.long_form).is_judged_by(STRUCTURE)


@given(values=st.lists(all_values(), min_size=2, max_size=3))
def test_judged_values_are_merged_as_others_are(values: list[dict[str, object]]) -> None:
    """The PIM gets the same from changes that were judged at once and from shaped ones."""
    texts = [json.dumps(one).encode() for one in values]
    quick = [convert(change(text), long_form=STRUCTURE.long_form) for text in texts]
    careful = [convert(change(text)) for text in texts]
    judged = [one for one in quick if isinstance(one, UpsertAsset) and one.judged_by is not None]
    event(f"all at once: {len(judged) == len(quick)}")
    if len(judged) < len(quick):
        return
    work = AssetWork.of(Asset("f", "c"), list(map(admitted, judged)), 10**6)
    assert work.is_judged_by(STRUCTURE)
    shaped = AssetWork.of(
        Asset("f", "c"),
        [admitted(one) for one in careful if isinstance(one, UpsertAsset)],
        10**6,
    )
    shaped.shape(STRUCTURE, None)
    merged = work.body().values
    assert isinstance(merged, Raw)
    assert json.loads(bytes(merged)) == json.loads(msgspec.json.encode(shaped.body().values))


def admitted(command: UpsertAsset) -> Change:
    return Change(plain(), 10, command, decoded(plain()).event, (), 0.0, 0)


def test_rejections_stay_what_they_are() -> None:
    """The careful way tells every flaw of the form."""
    found = convert(change(b'{"title": {"a": 1}}'), long_form=STRUCTURE.long_form)
    assert isinstance(found, Rejection)
