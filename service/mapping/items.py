"""The items of a list or an object in the event."""

from service.mapping.endings import UnmappableError
from service.mapping.json_values import ABSENT, kind_of


def items_of(found: object, path: str) -> list[object]:
    """Return the elements of a list, or a `{key, value}` for each member of an object.

    What is absent or null has no items. Raise UnmappableError for anything else.
    """
    if isinstance(found, list):
        return found
    if isinstance(found, dict):
        return [{"key": key, "value": value} for key, value in found.items()]
    if found is ABSENT or found is None:
        return []
    raise UnmappableError(f"{path} is {kind_of(found)}, neither a list nor an object")
