"""The profiles: for each kind of DAM, what its events mean, in the form of the sources file.

A profile never names topics, family or values, which are each user's own.
"""

from functools import cache
from importlib.resources import files

SUFFIX = ".yaml"


@cache
def names() -> tuple[str, ...]:
    """Return the names of all profiles in alphabetical order."""
    entries = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(SUFFIX) for name in entries if name.endswith(SUFFIX)))


@cache
def content(name: str) -> bytes:
    """Return the text of the profile, which must be one of `names`."""
    return files(__name__).joinpath(name + SUFFIX).read_bytes()
