"""A header that holds the secret itself, `Authorization: Basic …` included."""

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


@dataclass(frozen=True)
class Token(Scheme):
    """A fixed value of a header.

    For `Authorization`, the secret may also be `USER:PASSWORD` of the Basic scheme.
    """

    header: str
    """Its name in lower case."""
    secrets: tuple[str, ...]

    name: ClassVar[SchemeName] = "token"

    @property
    def own_headers(self) -> frozenset[str]:
        return frozenset({self.header})

    def judge(self, delivery: Delivery, read_secret: ReadSecret) -> Verdict:
        given = delivery.headers.first(self.header)
        if given is None:
            return Refused("missing")
        basic = _basic_credentials(given) if self.header == AUTHORIZATION else None

        def is_given(secret: str) -> bool:
            wanted = secret.encode()
            return is_same(wanted, given) or (basic is not None and is_same(wanted, basic))

        return judge_by_secrets(self.secrets, read_secret, is_given)

    def signed(self, secret: str) -> dict[str, str]:
        """Return the header with which the DAM would send any body."""
        return {self.header: secret}


def _basic_credentials(value: bytes) -> bytes | None:
    """Return USER:PASSWORD from the value of an `Authorization` header of the Basic scheme."""
    is_basic = value[: len(_BASIC)].lower() == _BASIC
    return from_base64(value[len(_BASIC) :].strip()) if is_basic else None
