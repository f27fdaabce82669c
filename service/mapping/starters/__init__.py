"""Sources files to begin with, one a profile: comments, sample events, and tests that pass."""

from importlib.resources import files


def content(profile: str) -> bytes:
    """Return the starter file of a profile, which must be one of `profiles.names`."""
    return files(__name__).joinpath(f"{profile}.yaml").read_bytes()
