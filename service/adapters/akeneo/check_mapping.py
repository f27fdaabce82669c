"""The check in `asset-sync check` of the PIM's names in a sources file; it changes nothing."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from service.adapters.akeneo.api import HttpAssetApi
from service.contracts.json_flaw import UNREADABLE
from service.core.inputs import CallFault, CallReply
from service.core.requests import GetAttributes, GetOptions
from service.core.values import Attribute
from service.mapping.faults import DocumentPath
from service.mapping.pim_names import AttributeUse, Codes, FamilyUse
from service.ports import Finding
from service.settings import StructureSettings

CHANNELS_PATH = "/api/rest/v1/channels?limit=100"

Use = FamilyUse | AttributeUse


class _UnansweredError(Exception):
    """The PIM did not answer a question as it should; the message says how."""


@dataclass(slots=True)
class _Pim:
    """What the PIM has of the names in the file.

    Attributes:
        families: The attributes of each family by their codes.
        options: The option codes by family and attribute.
        channels: The activated locales of each channel; None if the PIM does not show them.
    """

    families: dict[str, dict[str, Attribute]] = field(default_factory=dict)
    options: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    channels: dict[str, list[str]] | None = None


async def check_mapping(
    api: HttpAssetApi,
    uses: Iterable[Use],
    locate: Callable[[DocumentPath], str],
    settings: StructureSettings,
) -> list[Finding]:
    """Return a finding for each name that the PIM does not have, or one that it has them all.

    Args:
        api: The PIM.
        uses: The names in the sources file.
        locate: Returns the line of a part of the file.
        settings: Whether options are created, and the locale of values that name none.
    """
    asked = list(uses)
    try:
        pim = await _read(api, asked)
    except _UnansweredError as error:
        message = f"The names in the sources file were not checked: {error}"
        return [Finding("failed", message, "Correct what is wrong with the PIM first.")]
    flaws = {(flaw, locate(use.at)): None for use in asked for flaw in _flaws(use, pim, settings)}
    findings = [
        Finding("failed", f"{line}: {flaw}.", "Correct the sources file, or add it in the PIM.")
        for flaw, line in flaws
    ]
    if pim.channels is None:
        remedy = "Give the role of the connection the permission to list channels."
        findings.append(Finding("warning", "Locales and channels were not checked.", remedy))
    return findings or [_all_found(asked, pim)]


def _all_found(uses: Iterable[Use], pim: _Pim) -> Finding:
    names = ", ".join(sorted(pim.families)) or "none that is named"
    is_open = any(isinstance(use, FamilyUse) and use.families is None for use in uses)
    rest = " Families that events name themselves cannot be checked." if is_open else ""
    return Finding("ok", f"The PIM has every name in the sources file (families: {names}).{rest}")


# --- what the PIM has ------------------------------------------------------------------------


async def _read(api: HttpAssetApi, uses: Iterable[Use]) -> _Pim:
    pim = _Pim(channels=await _channels(api))
    for family in sorted({family for use in uses for family in use.families or ()}):
        reply = await _ask(api, GetAttributes(family))
        if reply.attributes is not None:
            pim.families[family] = {attribute.code: attribute for attribute in reply.attributes}
    for family, attribute in sorted(_with_options(uses, pim)):
        reply = await _ask(api, GetOptions(family, attribute))
        pim.options[family, attribute] = reply.options or frozenset()
    return pim


def _with_options(uses: Iterable[Use], pim: _Pim) -> set[tuple[str, str]]:
    """Return the attributes whose options the file names."""
    return {
        (family, use.attribute)
        for use in uses
        if isinstance(use, AttributeUse) and use.options
        for family in use.families or ()
        if (found := pim.families.get(family, {}).get(use.attribute)) and found.has_options
    }


async def _ask(api: HttpAssetApi, request: GetAttributes | GetOptions) -> CallReply:
    async def permit() -> None: ...

    answer = await api.send(request, permit=permit, may_write=lambda: True)
    if isinstance(answer, CallFault):
        raise _UnansweredError(answer.message)
    if answer.status not in {200, 404}:
        raise _UnansweredError(f"the PIM answered HTTP {answer.status}")
    return answer


class _Channel(msgspec.Struct):
    code: str
    locales: list[str] = []


class _Items(msgspec.Struct):
    items: list[_Channel]


class _Page(msgspec.Struct):
    embedded: _Items = msgspec.field(name="_embedded")


async def _channels(api: HttpAssetApi) -> dict[str, list[str]] | None:
    answer = await api.ask("GET", CHANNELS_PATH)
    if isinstance(answer, CallFault) or answer.status != 200:
        return None
    try:
        found = msgspec.json.decode(answer.body, type=_Page).embedded.items
    except UNREADABLE:
        return None
    return {channel.code: channel.locales for channel in found}


# --- what is missing -------------------------------------------------------------------------


def _flaws(use: Use, pim: _Pim, settings: StructureSettings) -> Iterator[str]:
    for family in sorted(use.families or ()):
        if isinstance(use, FamilyUse):
            if family not in pim.families:
                yield f"the PIM has no asset family {family}"
        elif family in pim.families:
            attribute = pim.families[family].get(use.attribute)
            if attribute is None:
                yield f"the family {family} has no attribute {use.attribute}"
            else:
                yield from _flaws_of_attribute(use, family, attribute, pim, settings)


def _flaws_of_attribute(
    use: AttributeUse, family: str, attribute: Attribute, pim: _Pim, settings: StructureSettings
) -> Iterator[str]:
    named = f"the attribute {attribute.code} of the family {family}"
    channels = pim.channels
    locales = None if channels is None else [code for known in channels.values() for code in known]
    needs_locale = attribute.per_locale and settings.default_locale is None
    if needs_locale and use.locales == frozenset():
        yield f"{named} needs a locale"
    if attribute.per_channel and use.channels == frozenset():
        yield f"{named} needs a channel"
    if not attribute.per_locale and use.locales != frozenset():
        yield f"{named} has no locales"
    if not attribute.per_channel and use.channels != frozenset():
        yield f"{named} has no channels"
    yield from _unknown("locale", use.locales, locales)
    yield from _unknown("channel", use.channels, channels)
    if attribute.has_options and not settings.create_options:
        for option in _missing(use.options, pim.options.get((family, attribute.code), ())):
            yield f"{named} has no option {option}"


def _unknown(kind: str, used: Codes, known: Iterable[str] | None) -> Iterator[str]:
    if known is not None:
        yield from (f"the PIM has no activated {kind} {code}" for code in _missing(used, known))


def _missing(used: Codes, known: Iterable[str]) -> list[str]:
    return sorted((used or frozenset()).difference(known))
