"""The PIM of a world: state that calls change, at a moment of the world's choice."""

from dataclasses import dataclass, field

import msgspec
from msgspec import Raw

from service.core.inputs import CallReply, ItemReply
from service.core.requests import (
    CreateOption,
    DeleteOne,
    GetAttributes,
    GetFamilies,
    GetFamily,
    GetOptions,
    Request,
    UploadFile,
    UpsertAssets,
)
from service.core.values import Attribute, Value, Values
from tests.simulation.media import ATTRIBUTES
from tests.simulation.plan import FAMILIES

REFUSED_ATTRIBUTE = "bad"
TYPES = frozenset({"jpg", "png"})


@dataclass
class SimPim:
    """Assets by (family, code); a missing one does not exist."""

    options: int = 0
    """Attributes with options in each family."""
    folds_case: bool = False
    families: set[str] = field(default_factory=lambda: set(FAMILIES))
    assets: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """The content of each file that was uploaded and not forgotten, by its code."""
    uploaded: dict[str, str] = field(default_factory=dict)
    """Likewise of every file."""
    uploads: int = 0
    is_mended: bool = False
    """Whether files that made it fail are taken by now."""

    def answer(self, request: Request, limit: int | None = None) -> CallReply:
        """Apply the request, of a bulk one only the first `limit` items, and answer."""
        match request:
            case GetFamilies():
                return CallReply(200, is_from_pim=True, families=frozenset(self.families))
            case GetFamily(family):
                return CallReply(200 if family in self.families else 404, is_from_pim=True)
            case UpsertAssets(family) | GetAttributes(family) if family not in self.families:
                return CallReply(404, is_from_pim=True, message="no family")
            case UpsertAssets(family, assets):
                items = [
                    self._upsert(family, asset.asset.code, _as_written(asset.values))
                    for asset in assets[:limit]
                ]
                return CallReply(200, is_from_pim=True, items=tuple(items))
            case GetAttributes():
                known = [Attribute(f"v{number}", "text") for number in range(3)]
                known += [Attribute(f"o{n}", "single_option") for n in range(self.options)]
                known += [Attribute(name, "media_file", extensions=TYPES) for name in ATTRIBUTES]
                return CallReply(200, is_from_pim=True, attributes=tuple(known))
            case GetOptions():
                return CallReply(200, is_from_pim=True, options=frozenset())
            case CreateOption():
                return CallReply(201)
            case UploadFile():
                raise AssertionError("a request does not have the file: `upload` takes it")
            case DeleteOne(family, code):
                if self.assets.pop(self.identity(family, code), None) is None:
                    return CallReply(404, is_from_pim=True, message="absent")
                return CallReply(204)

    def upload(self, content: str) -> CallReply:
        """Keep a file under a new code, or refuse it."""
        if content.startswith("refused"):
            return CallReply(422, is_from_pim=True, message="bad file")
        if content.startswith("poison") and not self.is_mended:
            return CallReply(500)
        self.uploads += 1
        code = f"code{self.uploads}"
        self.files[code] = self.uploaded[code] = content
        return CallReply(201, media_code=code)

    def mend(self) -> None:
        """Let an administrator mend what was the PIM's own."""
        self.is_mended = True

    def identity(self, family: str, code: str) -> tuple[str, str]:
        """Which asset a spelling means."""
        return (family, code.casefold() if self.folds_case else code)

    def _upsert(self, family: str, code: str, values: Values) -> ItemReply:
        named = {attribute: _text(value) for attribute, (value,) in values.items()}
        if REFUSED_ATTRIBUTE in named:
            return ItemReply(code, 422, "business rules")
        for attribute in named.keys() & set(ATTRIBUTES):
            if (content := self.files.get(named[attribute])) is None:
                return ItemReply(code, 422, "no such file")
            named[attribute] = content
        identity = self.identity(family, code)
        is_new = identity not in self.assets
        self.assets.setdefault(identity, {}).update(named)
        return ItemReply(code, 201 if is_new else 204)


def _as_written(values: Values | Raw) -> Values:
    """Read the values as a PIM does: it takes the long form alone."""
    return msgspec.json.decode(values, type=Values) if isinstance(values, Raw) else values


def _text(value: Value) -> str:
    assert isinstance(value.data, str), "all that a plan asks for"
    return value.data
