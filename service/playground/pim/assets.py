"""The assets of the PIM, and how an item of a call changes them (akeneo.md §2-§4)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from service.playground.pim.structure import Family, Structure
from service.playground.pim.switches import Switches
from service.playground.pim.values import BusinessRules, ValueKey, flaws_of_shape

CODE_CHARACTERS_MAX = 255
_CODE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_TOLERATED = frozenset(
    {"code", "values", "created", "updated", "asset_family_code", "attribute_type"}
)
SHAPE = "The asset has an invalid format."
RULES = "The asset has data that does not comply with the business rules."


class ItemRefusedError(Exception):
    """The PIM refuses one asset with 422."""

    def __init__(self, message: str, *errors: tuple[str, str]) -> None:
        super().__init__(message)
        self.errors = [{"property": name, "message": text} for name, text in errors]


@dataclass
class Asset:
    """The values of one asset, and when it was created and last updated."""

    values: dict[str, dict[ValueKey, Any]] = field(default_factory=dict)
    """Attribute → (locale, channel) → data; the data of an erased value is None."""
    created: str = ""
    updated: str = ""


class Assets:
    """All assets, by family and code."""

    def __init__(
        self, structure: Structure, switches: Switches, media: Mapping[str, bytes]
    ) -> None:
        self._structure = structure
        self._switches = switches
        self._rules = BusinessRules(structure, switches, media)
        self.by_key: dict[tuple[str, str], Asset] = {}

    def key(self, family: str, code: str) -> tuple[str, str]:
        """Return the key of an asset; the switch `case_of_codes` says whether case counts."""
        return family, code.lower() if self._switches.case_of_codes == "folded" else code

    def upsert(self, family: Family, item: dict[str, Any]) -> int:
        """Carry out one item; return 201 where the asset was created, 204 where it was updated.

        Raises:
            ItemRefusedError: the item breaks a rule.
        """
        code, values = item.get("code", ""), item.get("values", {})
        self._check_code(code)
        for name in item.keys() - _TOLERATED:
            raise ItemRefusedError(f"Property '{name}' does not exist.")
        if values == []:
            values = {}  # PHP's empty map
        if flaws := list(flaws_of_shape(values, family.attributes)):
            raise ItemRefusedError(SHAPE, *flaws)
        if family.attributes is not None and (
            flaws := list(self._rules.flaws(values, family.attributes))
        ):
            raise ItemRefusedError(RULES, *flaws)
        return self._store(self.key(family.code, code), values)

    def delete(self, family: str, code: str) -> bool:
        """Delete an asset; return False where there is no such asset.

        Raises:
            ItemRefusedError: the asset is linked to a product, and `delete_of_linked` is `refuse`.
        """
        key = self.key(family, code)
        asset = self.by_key.get(key)
        is_linked = asset is not None and bool(asset.values.get("product_ref"))
        if is_linked and self._switches.delete_of_linked == "refuse":
            raise ItemRefusedError("The asset is linked to a product.")
        return self.by_key.pop(key, None) is not None

    def page(self, family: str, after: str) -> tuple[list[str], bool]:
        """Return the codes of the page after this code, in order, and whether more follow."""
        codes = sorted(code for f, code in self.by_key if f == family and code > after)
        size = self._switches.page_size
        return codes[:size], len(codes) > size

    def shown(self, key: tuple[str, str]) -> dict[str, Any]:
        """Return the asset as the body of a GET shows it."""
        asset = self.by_key[key]
        values = {code: entries for code, entries in self._entries(asset) if entries}
        empty: Any = {} if self._switches.empty_map == "object" else []
        return {
            "code": key[1],
            "asset_family_code": key[0],
            "values": values or empty,
            "created": asset.created,
            "updated": asset.updated,
        }

    def _entries(self, asset: Asset) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        shows_erased = self._switches.erased_value == "null"
        for code, entries in asset.values.items():
            yield (
                code,
                [
                    {"locale": locale, "channel": channel, "data": data}
                    for (locale, channel), data in entries.items()
                    if data is not None or shows_erased
                ],
            )

    def _check_code(self, code: object) -> None:
        allowed = _CODE_CHARACTERS
        if self._switches.hyphen_in_code == "accept":
            allowed |= {"-"}
        if not isinstance(code, str) or not code:
            raise ItemRefusedError(SHAPE, ("code", "The property code is required"))
        if len(code) > CODE_CHARACTERS_MAX or set(code) - allowed:
            message = "The code may contain letters, digits and underscores, 255 at most."
            raise ItemRefusedError(RULES, ("code", message))

    def _store(self, key: tuple[str, str], values: Mapping[str, list[dict[str, Any]]]) -> int:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        asset = self.by_key.get(key)
        status = 204 if asset else 201
        if asset is None:
            asset = self.by_key[key] = Asset(created=now)
        asset.updated = now
        for code, entries in values.items():
            stored = asset.values.setdefault(code, {})
            for entry in entries:
                data = entry["data"]
                stored[entry.get("locale"), entry.get("channel")] = None if data == [] else data
        return status
