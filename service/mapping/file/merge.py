"""Completes the sources of a file by the keys of their profiles, and knows what came from where."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from service.mapping import profiles
from service.mapping.faults import DocumentPath, Fault, did_you_mean
from service.mapping.file.text import Document, Place, read

DIGEST_CHARACTERS = 12
"""Length of the digest of a file in outcomes, in hexadecimal digits."""


@dataclass(frozen=True, slots=True, order=True)
class PlacedFault:
    """Something wrong in the sources file, with its place; shown as FILE:LINE:COLUMN: MESSAGE."""

    file: str
    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.place.line}:{self.place.column}: {self.message}"


@dataclass(frozen=True, slots=True)
class Merged:
    """The data of a file with those of its profiles.

    Attributes:
        name: The path of the file, as faults show it.
        document: The file itself.
        data: The data of the file; each source also has the keys of its profile.
        profile_of: The profile of each source that has one.
    """

    name: str
    document: Document
    data: object
    profile_of: Mapping[str, str]

    def locate(self, path: DocumentPath) -> str:
        """Return where a part is, for messages: `sources.yaml line 58`.

        The folder is left out: outcomes show it to readers who do not have that file system.
        """
        profile = self._profile_with(path)
        if profile is None:
            file = self.name.rpartition("/")[2]
            return f"{file} line {self.document.place(path).line}"
        return _line_in_profile(profile, path)

    def shown_place(self, path: DocumentPath) -> str:
        """Return the place of a part of the file itself as FILE:LINE:COLUMN."""
        place = self.document.place(path)
        return f"{self.name}:{place.line}:{place.column}"

    def placed(self, fault: Fault) -> PlacedFault:
        """Return the fault with its place; a fault in a profile is placed where that is named."""
        profile = self._profile_with(fault.path)
        if profile is None:
            place = self.document.place(fault.path, is_key=fault.is_about_key)
            return PlacedFault(self.name, place, fault.message)
        place = self.document.place((*fault.path[:2], "profile"))
        message = f"{fault.message} ({_line_in_profile(profile, fault.path)})"
        return PlacedFault(self.name, place, message)

    def _profile_with(self, path: DocumentPath) -> str | None:
        """Return the profile that a part comes from; None if it is in the file itself."""
        match path:
            case ("sources", str(name), str(key), *_) if name in self.profile_of:
                profile = self.profile_of[name]
                is_own = key in _keys(self.document, ("sources", name))
                return profile if not is_own and key in _keys(_profile(profile), ()) else None
        return None


def merge(document: Document, name: str) -> tuple[Merged, tuple[Fault, ...]]:
    """Return the file with its profiles, and a fault for each profile that does not exist."""
    faults: list[Fault] = []
    profile_of: dict[str, str] = {}
    data = document.data
    if isinstance(data, dict) and isinstance(data.get("sources"), dict):
        for source, own in data["sources"].items():
            profile = own.get("profile") if isinstance(own, dict) else None
            if isinstance(profile, str) and profile in profiles.names():
                profile_of[source] = profile
            elif isinstance(profile, str):
                hint = did_you_mean(profile, profiles.names())
                path: DocumentPath = ("sources", source, "profile")
                faults.append(Fault(path, f"There is no profile `{profile}`. {hint}"))
        data = {**data, "sources": dict(_completed(data["sources"], profile_of))}
    return Merged(name, document, data, profile_of), tuple(faults)


def digest(content: bytes, merged: Merged) -> str:
    """Return the digest of a file and its profiles that outcomes name."""
    hashed = hashlib.sha256(content)
    for profile in sorted(set(merged.profile_of.values())):
        hashed.update(profiles.content(profile))
    return hashed.hexdigest()[:DIGEST_CHARACTERS]


def _completed(
    sources: Mapping[str, object], profile_of: Mapping[str, str]
) -> Iterator[tuple[str, object]]:
    for name, own in sources.items():
        if name in profile_of and isinstance(own, dict):
            inherited = _profile(profile_of[name]).data
            assert isinstance(inherited, dict)
            yield name, {**inherited, **own}
        else:
            yield name, own


@cache
def _profile(name: str) -> Document:
    document = read(profiles.content(name))
    assert isinstance(document, Document)
    return document


def _line_in_profile(profile: str, path: DocumentPath) -> str:
    return f"profile {profile} line {_profile(profile).place(path[2:]).line}"


def _keys(document: Document, path: DocumentPath) -> frozenset[str]:
    """Return the keys of a map that the document has exactly at this path."""
    data = document.data
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return frozenset(data) if isinstance(data, dict) else frozenset()
