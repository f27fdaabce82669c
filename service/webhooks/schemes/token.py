"""A header that holds the secret itself, `Authorization: Basic …` included."""

import re
from dataclasses import dataclass
from typing import ClassVar

from service.webhooks.delivery import Delivery, ReadSecret, Refused, Verdict
from service.webhooks.schemes.scheme import (
    Scheme,
    SchemeName,
    from_base64,
    is_same,
    judge_by_secrets,
)

AUTHORIZATION = "authorization"
_BASIC = b"basic "
_BLANKS = " \t"
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header can carry; a tab is allowed."""


@dataclass(frozen=True)
class Token(Scheme):
    """A fixed value of a header, which arrives without the blanks around it.

    For `Authorization`, the secret may also be `USER:PASSWORD` of the Basic scheme.
    """

    header: str
    """Its name in lower case."""
    secrets: tuple[str, ...]

    name: ClassVar[SchemeName] = "token"

    @property
    def own_headers(self) -> frozenset[str]:
        return frozenset({self.header})

    def flaw_of(self, secret: str) -> str | None:
        if not secret.strip(_BLANKS):
            return "has only blanks, which a header does not keep"
        if _CONTROL_CHARACTER.search(secret):
            return "cannot be sent: it has several lines or other control characters"
        return None

    def judge(self, delivery: Delivery, read_secret: ReadSecret) -> Verdict:
        given = delivery.headers.first(self.header)
        if given is None:
            return Refused("missing")
        basic = _basic_credentials(given) if self.header == AUTHORIZATION else None

        def is_given(secret: str) -> bool:
            if self.flaw_of(secret) is not None:
                raise ValueError("the secret verifies nothing")
            if is_same(secret.strip(_BLANKS).encode(), given):
                return True
            return basic is not None and is_same(secret.encode(), basic)

        return judge_by_secrets(self.secrets, read_secret, is_given)

    def signed(self, secret: str) -> dict[str, str]:
        """Return the header with which the DAM would send any body."""
        return {self.header: secret}


def _basic_credentials(value: bytes) -> bytes | None:
    """Return USER:PASSWORD from the value of an `Authorization` header of the Basic scheme."""
    is_basic = value[: len(_BASIC)].lower() == _BASIC
    return from_base64(value[len(_BASIC) :].strip()) if is_basic else None
