"""The names in a sources file, looked for in the PIM simulator over HTTP."""

from collections.abc import AsyncIterator

import pytest

from service.adapters.akeneo.check_mapping import check_mapping
from service.mapping.file.load import Loaded, load
from service.mapping.pim_names import uses_of
from service.playground.pim.faults import Fault
from service.playground.pim.server import served
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample
from service.ports import Finding
from service.settings import StructureSettings
from tests.support.pim import api_of

HEAD = """\
version: 1
tables: {families: {p: packshots, a: [ambient, videos]}, sizes: {s: web, l: [print, poster]}}
sources:
  one:
    topics: [t]
    code: id
"""


@pytest.fixture
async def pim() -> AsyncIterator[tuple[PimSimulator, str]]:
    simulator = PimSimulator(sample())
    async with served(simulator) as url:
        yield simulator, url


async def findings(
    pim: tuple[PimSimulator, str], *lines: str, **structure: object
) -> list[Finding]:
    """Check a source with these lines; the first is line 7."""
    content = HEAD + "".join(f"    {line}\n" for line in lines)
    loaded = load(content.encode(), "sources.yaml")
    assert isinstance(loaded, Loaded), loaded
    api = api_of(*pim)
    source, tables = loaded.model.sources["one"], loaded.model.tables
    settings = StructureSettings.model_validate(structure)
    try:
        uses = uses_of("one", source, tables)
        return await check_mapping(api, uses, loaded.merged.locate, settings)
    finally:
        await api.close()


UPSERT = "rules: [{do: upsert}]"
PACKSHOTS = "family: {const: packshots}"


@pytest.mark.parametrize(
    "lines",
    [
        (PACKSHOTS, UPSERT),
        ("family: {path: f, table: families}", UPSERT, "values: {photographer: p}"),
        (PACKSHOTS, UPSERT, "values: {label: {path: l, locale: en_US}}"),
        (PACKSHOTS, UPSERT, "values: {caption: {path: c, locale: fr_FR, channel: ecommerce}}"),
        (PACKSHOTS, UPSERT, "values: {usage: {path: u, table: {s: web}, default: print}}"),
        (PACKSHOTS, UPSERT, "values: {usage: {path: u, table: sizes, case: lower}}"),
        (PACKSHOTS, UPSERT, "values: {usage: u, photographer: {const: Nobody Known}}"),
        (PACKSHOTS, "rules: [{do: skip, family: {const: nosuch}}]"),
        ("families: [packshots, manuals]", "rules: [{do: delete}]"),
    ],
)
async def test_names_that_the_pim_has(
    pim: tuple[PimSimulator, str], lines: tuple[str, ...]
) -> None:
    (finding,) = await findings(pim, *lines)

    assert finding.grade == "ok"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("family: {const: packshot}", UPSERT), "line 7: the PIM has no asset family packshot"),
        (("families: [nosuch]", "rules: [{do: delete}]"),
         "line 7: the PIM has no asset family nosuch"),
        (("rules: [{do: upsert, family: {const: nosuch}}]",),
         "line 7: the PIM has no asset family nosuch"),
        ((PACKSHOTS, "rules: [{do: archive}]", "on_archive: {set: {status: archived}}"),
         "line 9: the family packshots has no attribute status"),
        ((PACKSHOTS, "rules: [{do: upsert, set: {usage: tv}}]"),
         "line 8: the attribute usage of the family packshots has no option tv"),
        ((PACKSHOTS, UPSERT, "values: {title: t}"),
         "line 9: the family packshots has no attribute title"),
        ((PACKSHOTS, UPSERT, "values: {label: l}"),
         "line 9: the attribute label of the family packshots needs a locale"),
        ((PACKSHOTS, UPSERT, "values: {caption: {path: c, locale: en_US}}"),
         "line 9: the attribute caption of the family packshots needs a channel"),
        ((PACKSHOTS, UPSERT, "values: {photographer: {path: p, locale: en_US}}"),
         "line 9: the attribute photographer of the family packshots has no locales"),
        ((PACKSHOTS, UPSERT, "values: {photographer: {path: p, channel: {path: c}}}"),
         "line 9: the attribute photographer of the family packshots has no channels"),
        ((PACKSHOTS, UPSERT, "values: {label: {path: l, locale: de_DE}}"),
         "line 9: the PIM has no activated locale de_DE"),
        ((PACKSHOTS, UPSERT, "values: {label: {path: l, locale: {path: x, table: {a: it_IT}}}}"),
         "line 9: the PIM has no activated locale it_IT"),
        ((PACKSHOTS, UPSERT, "values: {caption: {path: c, locale: en_US, channel: tv}}"),
         "line 9: the PIM has no activated channel tv"),
        ((PACKSHOTS, UPSERT, "values: {usage: {path: u, table: sizes}}"),
         "line 9: the attribute usage of the family packshots has no option poster"),
    ],
)  # fmt: skip
async def test_a_name_that_the_pim_lacks_has_its_line(
    pim: tuple[PimSimulator, str], lines: tuple[str, ...], expected: str
) -> None:
    (finding,) = await findings(pim, *lines)

    assert finding.grade == "failed"
    assert finding.message == f"sources.yaml {expected}."


async def test_a_value_is_checked_in_each_family_that_it_may_be_written_to(
    pim: tuple[PimSimulator, str],
) -> None:
    simulator, _ = pim
    for family in ("packshots", "videos"):
        attributes = simulator.structure.families[family].attributes
        assert attributes is not None
        del attributes["usage"]
    found = await findings(
        pim, "family: {path: f, table: families}", UPSERT, "values: {usage: {const: web}}"
    )

    assert [finding.message.split(": ")[1].split()[2] for finding in found] == [
        "packshots",
        "videos",
    ]


async def test_families_that_events_name_cannot_be_checked(pim: tuple[PimSimulator, str]) -> None:
    (finding,) = await findings(pim, "family: f", UPSERT, "values: {anything: a}")

    assert finding.grade == "ok"
    assert "Families that events name themselves cannot be checked." in finding.message


async def test_settings_of_the_structure_count(pim: tuple[PimSimulator, str]) -> None:
    """`run` creates options, and fills in the locale, where it is told to."""
    values = "values: {label: l, usage: {const: tv}}"
    found = await findings(
        pim, PACKSHOTS, UPSERT, values, create_options=True, default_locale="en_US"
    )

    assert [finding.grade for finding in found] == ["ok"]


async def test_a_pim_that_does_not_answer_is_one_finding(pim: tuple[PimSimulator, str]) -> None:
    simulator, _ = pim
    (finding,) = await findings((simulator, "http://127.0.0.1:9"), PACKSHOTS, UPSERT)

    assert finding.grade == "failed"
    assert "The names in the sources file were not checked" in finding.message


async def test_a_pim_that_shows_no_channels_is_a_warning(pim: tuple[PimSimulator, str]) -> None:
    """The connection may lack the permission; everything else is checked all the same."""
    simulator, _ = pim
    simulator.faults.add(Fault(route="read", status=403))
    found = await findings(pim, "family: {const: nosuch}", UPSERT)

    assert [finding.grade for finding in found] == ["failed", "warning"]
    assert found[1].message == "Locales and channels were not checked."


async def test_a_pim_that_fails_is_one_finding(pim: tuple[PimSimulator, str]) -> None:
    simulator, _ = pim
    simulator.faults.add(Fault(route="read", status=503, times=None))
    (finding,) = await findings(pim, PACKSHOTS, UPSERT)

    assert "were not checked: the PIM answered HTTP 503" in finding.message
