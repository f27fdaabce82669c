"""The verdicts on a call: each is a possible meaning of the PIM's answer (architecture.md D7)."""

from enum import Enum

import msgspec

from service.contracts.outcome import Reason


class PimResponse(msgspec.Struct, frozen=True, gc=False):
    """The PIM's answer, or the fault of the connection, as the outcome shows it."""

    status: int | None
    message: str | None = None
    errors: tuple[msgspec.Raw, ...] = ()


class Failure(msgspec.Struct, frozen=True):
    """The reason of a failed call, as a `failed` outcome gives it, and the answer."""

    reason: Reason
    response: PimResponse


class ItemKind(Enum):
    """The meaning of a bulk answer for one asset."""

    APPLIED = "applied"
    REFUSED = "refused"
    RETRY = "retry"


class ItemVerdict(msgspec.Struct, frozen=True, gc=False):
    """The verdict on one asset of a successful bulk call."""

    kind: ItemKind
    response: PimResponse


class Judged(msgspec.Struct, frozen=True):
    """The call succeeded: the PIM judged each asset. The items are in the order of the call."""

    items: tuple[ItemVerdict, ...]


class Refused(msgspec.Struct, frozen=True):
    """The call as a whole was refused: it is halved, and for a single asset this is final."""

    reason: Reason
    response: PimResponse
    is_from_pim: bool = True
    """Whether the PIM itself refused it, which shows that the PIM works; a proxy shows nothing."""


class Uploaded(msgspec.Struct, frozen=True):
    """The PIM has the file, under this code."""

    code: str


class Missing(msgspec.Struct, frozen=True):
    """The PIM answered 404: the family is unknown or, for a DELETE, the asset is absent.

    The exchange finds out which of them it is.
    """

    response: PimResponse


class Absent(msgspec.Struct, frozen=True):
    """The delete succeeded because the asset does not exist."""

    response: PimResponse


class UnknownFamily(msgspec.Struct, frozen=True):
    """The PIM works, and does not have the family."""

    response: PimResponse


class Unsendable(msgspec.Struct, frozen=True):
    """The call was not sent, because no URL can name its family or its asset: this is final."""

    response: PimResponse


class FileLost(msgspec.Struct, frozen=True):
    """The file to upload is no longer on disk: it is fetched again."""

    message: str


class Forbidden(msgspec.Struct, frozen=True):
    """The answer is 403, perhaps because the body is too large.

    The call is halved; for a single asset a 403 is a suspicion.
    """

    failure: Failure


class Throttled(msgspec.Struct, frozen=True):
    """The answer is 429: nothing failed, and the gate closes."""

    retry_after_seconds: float | None


class Suspicious(msgspec.Struct, frozen=True):
    """The answer is not a judgement; later answers show whose failure it is."""

    failure: Failure
    is_pim_well: bool | None = None
    """Whether the PIM answered the GET that followed; None if none was sent."""


class Cancelled(msgspec.Struct, frozen=True):
    """Asset-sync cancelled the request: not a suspicion, not an attempt."""


Verdict = (
    Judged
    | Refused
    | Uploaded
    | Missing
    | Absent
    | UnknownFamily
    | Unsendable
    | FileLost
    | Forbidden
    | Throttled
    | Suspicious
    | Cancelled
)
