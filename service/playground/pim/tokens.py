"""Tokens: password grant, refresh with rotation, app token, expiry (akeneo.md §1)."""

import base64
import secrets
import time
from dataclasses import dataclass, field

import msgspec

TOKEN_BYTES_MAX = 300
SUBMITTABLE = frozenset({"application/json", "application/x-www-form-urlencoded"})
REFRESH_SECONDS = 1_209_600


class TokenRefusedError(Exception):
    """The PIM refuses a token request, with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Tokens:
    """The credentials of one connection, and the tokens that were issued for them."""

    client_id: str = "client"
    client_secret: str = "secret"
    username: str = "user"
    password: str = "password"
    app_token: str | None = None
    lifetime_seconds: int = 3600
    given: int = 0
    """How many access tokens were issued."""
    _access: dict[str, float] = field(default_factory=dict)
    """Access token → when it expires (monotonic)."""
    _refresh: dict[str, float] = field(default_factory=dict)
    """Refresh token → when it expires (monotonic)."""

    def grant(self, content_type: str, authorization: str | None, body: bytes) -> dict[str, object]:
        """Return the body of the answer to a token request.

        Raises:
            TokenRefusedError: the request breaks a rule of akeneo.md §1.2.
        """
        if content_type not in SUBMITTABLE:
            raise TokenRefusedError(415, "The Content-Type header is missing or not supported.")
        if len(body) > TOKEN_BYTES_MAX:
            message = (
                f"Request content exceeded the maximum allowed size of {TOKEN_BYTES_MAX} bytes"
            )
            raise TokenRefusedError(413, message)
        pair = f"{self.client_id}:{self.client_secret}".encode()
        if authorization != "Basic " + base64.b64encode(pair).decode():
            message = (
                'Parameter "client_id" is missing or does not match any client, '
                "or secret is invalid"
            )
            raise TokenRefusedError(422, message)
        self._check(_grant(body))
        return self._give()

    def _check(self, grant: dict[str, str]) -> None:
        match grant.get("grant_type"):
            case "refresh_token":
                expires_at = self._refresh.pop(grant.get("refresh_token", ""), 0.0)
                if expires_at <= time.monotonic():
                    raise TokenRefusedError(422, "Refresh token is invalid or has expired")
            case "password":
                if (grant.get("username"), grant.get("password")) != (self.username, self.password):
                    message = "No user found for the given username and password"
                    raise TokenRefusedError(422, message)
            case _:
                message = (
                    'Parameter "grant_type", "username" or "password" is missing, empty or invalid'
                )
                raise TokenRefusedError(422, message)

    def _give(self) -> dict[str, object]:
        self.given += 1
        access, refresh = secrets.token_hex(24), secrets.token_hex(24)
        self._access[access] = time.monotonic() + self.lifetime_seconds
        self._refresh[refresh] = time.monotonic() + REFRESH_SECONDS
        return {
            "access_token": access,
            "expires_in": self.lifetime_seconds,
            "token_type": "bearer",
            "scope": None,
            "refresh_token": refresh,
        }

    def flaw(self, authorization: str) -> str | None:
        """Return why a call with this Authorization header is answered 401, or None."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return "Authentication is required"
        if self.app_token is not None and token == self.app_token:
            return None
        expires_at = self._access.get(token)
        if expires_at is None:
            return "The access token provided is invalid."
        if expires_at <= time.monotonic():
            return "The access token provided has expired."
        return None

    def expire(self) -> None:
        """Let every access token expire; refresh tokens still work."""
        self._access = dict.fromkeys(self._access, 0.0)

    def forget(self) -> None:
        """Forget every access token and every refresh token."""
        self._access.clear()
        self._refresh.clear()


def _grant(body: bytes) -> dict[str, str]:
    try:
        return msgspec.json.decode(body, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TokenRefusedError(400, "Invalid json message received") from error
