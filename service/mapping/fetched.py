"""The answer of a DAM to the read of an asset, decoded as events are."""

from collections.abc import Mapping

from service.mapping.endings import RecordEndedError
from service.mapping.json_values import decode


def decode_fetched(body: bytes) -> Mapping[str, object] | None:
    """Return the JSON object of an answer, or None if it is not one."""
    try:
        decoded = decode(body, "The answer")
    except RecordEndedError:
        return None
    return decoded if isinstance(decoded, dict) else None
