"""A header with an HMAC of the body, as GitHub, Aprimo, Akeneo and many others send it."""

import base64
import hmac
from dataclasses import dataclass
from typing import ClassVar, Literal

from service.webhooks.delivery import Delivery, ReadSecret, Refused, Verdict
from service.webhooks.schemes.scheme import (
    Scheme,
    SchemeName,
    from_base64,
    from_hex,
    is_same,
    judge_by_secrets,
)


@dataclass(frozen=True)
class BodyHmac(Scheme):
    """An HMAC with a shared secret, in hexadecimal digits or base64, after a fixed prefix."""

    header: str
    """Its name in lower case."""
    secrets: tuple[str, ...]
    digest: Literal["sha1", "sha256", "sha512"]
    encoding: Literal["hex", "base64"]
    prefix: str

    name: ClassVar[SchemeName] = "hmac"

    @property
    def own_headers(self) -> frozenset[str]:
        return frozenset({self.header})

    def judge(self, delivery: Delivery, read_secret: ReadSecret) -> Verdict:
        text, prefix = delivery.headers.first(self.header), self.prefix.encode()
        if text is None:
            return Refused("missing")
        decode = from_hex if self.encoding == "hex" else from_base64
        given = decode(text.removeprefix(prefix)) if text.startswith(prefix) else None
        if given is None:
            return Refused("malformed")
        return judge_by_secrets(
            self.secrets,
            read_secret,
            lambda secret: is_same(self._digest_of(delivery.body, secret), given),
        )

    def signed(self, body: bytes, secret: str) -> dict[str, str]:
        """Return the header with which the DAM would send this body."""
        digest = self._digest_of(body, secret)
        text = digest.hex() if self.encoding == "hex" else base64.b64encode(digest).decode("ascii")
        return {self.header: self.prefix + text}

    def _digest_of(self, body: bytes, secret: str) -> bytes:
        return hmac.digest(secret.encode(), body, self.digest)
