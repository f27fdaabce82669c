"""Hosts of the sources file: whom asset-sync reads back from, with which credentials and limits."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from service.mapping.file.fields import (
    EXACTLY_ONE,
    FileName,
    HeaderName,
    Part,
    SecretName,
    Size,
    Text,
)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # for an invalid port or IPv6 address
        is_url = False
    if not is_url or not text.isprintable() or set(text) & set(" ?#@\\"):
        raise ValueError("should be a URL such as https://dam.example.com, without user or query")
    return parts.scheme + text[len(parts.scheme) :].rstrip("/")  # the scheme in lower case


Url = Annotated[str, AfterValidator(_url)]


class Basic(Part):
    """HTTP basic authentication."""

    username: SecretName
    password: SecretName


class Header(Part):
    """A header that holds a secret, such as an API key."""

    name: HeaderName = Field(description="Name of the header.")
    secret: SecretName


class OAuth2(Part):
    """OAuth 2.0 with client credentials."""

    token_url: Url = Field(description="URL that answers the token requests.")
    client_id: SecretName
    client_secret: SecretName
    scope: Text | None = Field(None, description="Scope to ask for.")


class Auth(Part):
    """How requests to a host are authorised: exactly one way."""

    model_config = EXACTLY_ONE

    bearer: SecretName | None = None
    basic: Basic | None = None
    header: Header | None = None
    oauth2: OAuth2 | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("needs exactly one of bearer, basic, header, oauth2")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that this way needs."""
        if self.basic is not None:
            return (self.basic.username, self.basic.password)
        if self.header is not None:
            return (self.header.secret,)
        if self.oauth2 is not None:
            return (self.oauth2.client_id, self.oauth2.client_secret)
        return () if self.bearer is None else (self.bearer,)


class Host(Part):
    """A host to read back from. Its limits hold for each replica."""

    base: Url = Field(description="URL that all addresses of this host begin with.")
    auth: Auth | None = Field(None, description="How requests are authorised; default: not at all.")
    max_concurrency: Annotated[int, Field(ge=1, le=1000)] = Field(
        4, description="Most requests at the same time."
    )
    max_per_second: Annotated[float, Field(gt=0, le=10_000)] = Field(
        10, description="Most requests in a second."
    )
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        30, description="Timeout of one request."
    )
    max_bytes: Annotated[Size, Field(ge=1024, le=64 * 1024**2)] = Field(
        1024**2, description="Largest answer, in bytes or as 1MiB."
    )
    ca_file: FileName | None = Field(
        None, description="PEM file with the certificate of a private CA, trusted in addition."
    )
    allow_private: bool = Field(
        default=False, description="Accept private addresses and plain http for this host."
    )

    @model_validator(mode="after")
    def _is_encrypted(self) -> Self:
        urls = [self.base]
        if self.auth is not None and self.auth.oauth2 is not None:
            urls.append(self.auth.oauth2.token_url)
        plain = [url for url in urls if not url.startswith("https:")]
        if plain and not self.allow_private:
            raise ValueError(f"{plain[0]} is plain http: use https, or set allow_private: true")
        return self
