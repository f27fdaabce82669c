"""The webhook of a source: its path, and how a request is verified (docs/webhooks.md)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from service.mapping.file.fields import EXACTLY_ONE, HeaderName, Part, Secrets, Text, Topic, UrlPath

NEVER_FORWARDED = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
"""Headers that hold credentials and never reach a topic."""

MaxAge = Annotated[int, Field(ge=1, le=86_400)]


class CloudinaryVerify(Part):
    """Cloudinary: X-Cld-Signature."""

    secret: Secrets = Field(description="Secret with the API secret of the account.")
    max_age_seconds: MaxAge = Field(7200, description="Oldest timestamp that is accepted.")


class SnsVerify(Part):
    """Amazon SNS: the message's own signature."""

    topics: Annotated[list[Text], Field(min_length=1)] = Field(
        description="ARNs of the topics that may send."
    )
    confirm: bool = Field(default=True, description="Confirm a subscription by itself.")


class AdobeVerify(Part):
    """Adobe I/O Events: x-adobe-digital-signature-1 and -2."""

    client_id: Text = Field(description="Client id of the Adobe project, which is not a secret.")


class StandardVerify(Part):
    """Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature, or svix-id, …."""

    secret: Secrets = Field(description="Secret with the key, which begins with whsec_ or whpk_.")
    max_age_seconds: MaxAge = Field(300, description="Oldest timestamp that is accepted.")


class HmacVerify(Part):
    """A header with an HMAC of the body."""

    header: HeaderName = Field(description="Name of the header.")
    secret: Secrets = Field(description="Secret with the key of the HMAC.")
    digest: Literal["sha1", "sha256", "sha512"] = Field("sha256", description="Hash function.")
    encoding: Literal["hex", "base64"] = Field("hex", description="How the header is written.")
    prefix: str = Field("", description="Text before the signature, such as sha256=.")


class TokenVerify(Part):
    """A header that holds the secret itself."""

    header: HeaderName = Field(description="Name of the header.")
    secret: Secrets = Field(description="Secret that the header must be equal to.")


class Verify(Part):
    """How a request is verified: exactly one scheme."""

    model_config = EXACTLY_ONE

    cloudinary: CloudinaryVerify | None = None
    sns: SnsVerify | None = None
    adobe: AdobeVerify | None = None
    standard: StandardVerify | None = None
    hmac: HmacVerify | None = None
    token: TokenVerify | None = None
    none: Literal["I trust the network"] | None = Field(
        None, description="Verify nothing: whoever reaches the port can write to the topic."
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            schemes = ", ".join(type(self).model_fields)
            raise ValueError(f"needs exactly one of {schemes}")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that this scheme needs."""
        for scheme in (self.cloudinary, self.standard, self.hmac, self.token):
            if scheme is not None:
                return tuple(scheme.secret)
        return ()


class Webhook(Part):
    """Where a source's DAM sends its events over HTTP."""

    path: UrlPath = Field(
        description="Path of the URL, such as /bynder. A path belongs to one source."
    )
    verify: Verify = Field(description="How a request is verified.")
    topic: Topic | None = Field(
        None, description="Topic for the records, one of the source's; default: its first."
    )
    key: Literal["identity", "source"] | None = Field(
        None,
        description="Key of the records: the asset's identity, or the name of the source. Default: "
        "identity, if the source has one.",
    )
    headers: list[HeaderName] = Field(
        default_factory=list, description="Headers of the request to keep on the record."
    )

    @model_validator(mode="after")
    def _keeps_no_credentials(self) -> Self:
        token = self.verify.token or self.verify.hmac
        refused = NEVER_FORWARDED | ({token.header.lower()} if token else set())
        for header in self.headers:
            if header.lower() in refused:
                raise ValueError(f"the header {header} holds credentials and is never kept")
        return self
