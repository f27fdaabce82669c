"""Sizes as people write them: `131072` or `128KiB`."""

import re

_SIZE = re.compile(r"\s*(\d{1,15})\s*(B|KiB|MiB|GiB|KB|MB|GB)?\s*", re.IGNORECASE)
_UNITS = {
    "": 1, "b": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3,
    "kb": 1000, "mb": 1000**2, "gb": 1000**3,
}  # fmt: skip


def parse_size(given: object) -> object:
    """Return a size given as text in bytes; anything that is not text is returned unchanged.

    Raises:
        ValueError: the text is not a size.
    """
    if not isinstance(given, str):
        return given
    found = _SIZE.fullmatch(given)
    if found is None:
        raise ValueError("give bytes, or a number with KiB, MiB or GiB, such as 128MiB")
    return int(found[1]) * _UNITS[(found[2] or "").lower()]
