"""Outcomes as `asset-sync run` writes them, made in microseconds and the same in each run."""

import json
from typing import Any

FAMILIES = ("packshots", "ambient", "videos", "manuals", "swatches", "logos")
RESULTS = ("created", "updated", "merged")
REFUSED = "The attribute caption requires a text that is not longer than 255 characters."
REJECTED_EACH = 20
"""One of so many outcomes is rejected."""
CODES = 500_009
"""Codes before they begin to repeat; a prime, so that numbers in a row have codes far apart."""
PICTURES = 3
_CODE_FACTOR = 2_654_435_761
_IDENTIFIER_FACTOR = 11_400_714_819_323_198_485
_BITS_64 = 2**64


def outcome(number: int) -> bytes:
    """Return the outcome with this number."""
    template = _REJECTED if _is_rejected(number) else _APPLIED[_spread(number) % len(RESULTS)]
    return template % {
        b"number": number,
        b"at": number // 6,
        b"partition": number % 6,
        b"family": family_of(number).encode(),
        b"code": code_of(number).encode(),
        b"dam_id": dam_id_of(number).encode(),
    }


def family_of(number: int) -> str:
    """Return the family of the outcome with this number."""
    return FAMILIES[_spread(number) // len(RESULTS) % len(FAMILIES)]


def code_of(number: int) -> str:
    """Return a code, which about three of five million outcomes share."""
    picture = number // CODES % PICTURES
    return f"sku_{number * _CODE_FACTOR % CODES:06}_pic{picture}"


def dam_id_of(number: int) -> str:
    """Return an identifier that no other outcome has."""
    return f"{number * _IDENTIFIER_FACTOR % _BITS_64:016X}"


def _is_rejected(number: int) -> bool:
    return _spread(number) % REJECTED_EACH == 0


def _spread(number: int) -> int:
    """Return a number that looks random, from the upper bits of a product."""
    return (number * _IDENTIFIER_FACTOR % _BITS_64) >> 40


def _template(status: str, result: str | None, reason: str | None) -> bytes:
    """Return the JSON of an outcome, with a placeholder for each part that varies."""
    message = REFUSED if reason else None
    data: dict[str, Any] = {
        "status": status,
        "result": result,
        "reason": reason,
        "message": message,
        "errors": [{"path": "values.caption", "message": REFUSED}] if reason else [],
        "action": "upsert",
        "asset_family": "%(family)s",
        "code": "%(code)s",
        "event": {"id": "evt-%(number)09x", "context": {"dam_id": "%(dam_id)s"}},
        "origin": {"topic": "dam.asset-changes", "partition": "%(partition)d", "offset": "%(at)d"},
        "attempts": 1,
    }
    event = {
        "specversion": "1.0",
        "type": f"asset-sync.asset.{status}.v1",
        "source": "/asset-sync/bench",
        "id": "dam.asset-changes/%(partition)d/%(at)d",
        "time": "2026-11-23T10:15:02.114Z",
        "subject": "%(family)s/%(code)s",
        "data": data,
    }
    text = json.dumps(event, separators=(",", ":"))
    for number in ("%(partition)d", "%(at)d"):  # as members they are numbers, not texts
        text = text.replace(f'"{number}"', number)
    return text.encode()


_APPLIED = tuple(_template("applied", result, None) for result in RESULTS)
_REJECTED = _template("rejected", None, "refused_by_pim")
