"""What an answer of the PIM can mean (architecture.md D7)."""

from enum import Enum

import msgspec

from service.contracts.outcome import Reason


class PimResponse(msgspec.Struct, frozen=True, gc=False):
    """What the PIM (or the wire) said, as the outcome will show it."""

    status: int | None
    message: str | None = None
    errors: tuple[msgspec.Raw, ...] = ()


class Failure(msgspec.Struct, frozen=True):
    """Why a call failed: a reason for a `failed` outcome, and what was said."""

    reason: Reason
    response: PimResponse


class ItemKind(Enum):
    """What a bulk answer says of one asset."""

    APPLIED = "applied"
    REFUSED = "refused"
    RETRY = "retry"


class ItemVerdict(msgspec.Struct, frozen=True, gc=False):
    """One asset of a successful bulk call."""

    kind: ItemKind
    response: PimResponse


class Judged(msgspec.Struct, frozen=True):
    """A success with a word on each asset, in the order of the call."""

    items: tuple[ItemVerdict, ...]


class Refused(msgspec.Struct, frozen=True):
    """The call as a whole was judged and refused. Halves; alone final."""

    reason: Reason
    response: PimResponse
    is_from_pim: bool = True
    """Whether the PIM judged it, which is a success, or only a proxy: that proves nothing."""


class Missing(msgspec.Struct, frozen=True):
    """A JSON 404: the family is unknown, or (DELETE) the asset is absent. To be checked."""

    response: PimResponse


class Absent(msgspec.Struct, frozen=True):
    """A success: there is no such asset to delete."""

    response: PimResponse


class UnknownFamily(msgspec.Struct, frozen=True):
    """The PIM answers, and has no such family."""

    response: PimResponse


class Forbidden(msgspec.Struct, frozen=True):
    """403: perhaps the body is too heavy. Halves; alone a suspicion."""

    failure: Failure


class Throttled(msgspec.Struct, frozen=True):
    """429: nobody's failure. The gate closes."""

    retry_after_seconds: float | None


class Suspicious(msgspec.Struct, frozen=True):
    """No judgement came; whose failure it is shows later."""

    failure: Failure
    is_pim_well: bool | None = None
    """Whether a GET after it was answered by the PIM itself; None where none was sent."""


class Cancelled(msgspec.Struct, frozen=True):
    """We gave the request up: neither suspicion nor attempt."""


Verdict = (
    Judged
    | Refused
    | Missing
    | Absent
    | UnknownFamily
    | Forbidden
    | Throttled
    | Suspicious
    | Cancelled
)
