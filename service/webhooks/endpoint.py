"""The endpoints of the sources: where each DAM sends its events, and how they are verified."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from service.mapping.file.webhook import (
    AdobeVerify,
    CloudinaryVerify,
    HmacVerify,
    SnsVerify,
    StandardVerify,
    TokenVerify,
    Verify,
    Webhook,
)
from service.webhooks.delivery import Delivery
from service.webhooks.record import (
    NEVER_KEPT,
    Identity,
    IngressRecord,
    Kept,
    headers_of,
    key_of,
)
from service.webhooks.schemes.adobe import Adobe
from service.webhooks.schemes.body_hmac import BodyHmac
from service.webhooks.schemes.cloudinary import Cloudinary
from service.webhooks.schemes.scheme import Scheme
from service.webhooks.schemes.sns import Sns
from service.webhooks.schemes.standard import Standard
from service.webhooks.schemes.token import Token
from service.webhooks.schemes.unverified import Unverified


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The webhook of one source."""

    source: str
    path: str
    topic: str
    scheme: Scheme
    kept: Kept
    identity: Identity | None = None
    """Reads the asset's identity, which becomes the key; None: the source's name is the key."""

    @property
    def methods(self) -> str:
        """The methods that a request may have, as the header `Allow` lists them."""
        return "GET, POST" if self.scheme.answer_to_get("challenge=x") else "POST"

    def record_for(self, delivery: Delivery) -> IngressRecord:
        """Return the record of a verified delivery."""
        headers = headers_of(delivery, self.source, self.scheme.name, self.kept)
        identity = None if self.identity is None else self.identity(delivery.body, headers)
        key = key_of(self.source, identity or "")
        return IngressRecord(self.topic, key, delivery.body, headers)


def endpoint_of(
    source: str, webhook: Webhook, first_topic: str, identity: Identity | None
) -> Endpoint:
    """Return the endpoint that a webhook of the sources file describes."""
    scheme = scheme_of(webhook.verify)
    listed = frozenset(name.lower() for name in webhook.headers)
    return Endpoint(
        source,
        webhook.path,
        webhook.topic or first_topic,
        scheme,
        listed - NEVER_KEPT - scheme.own_headers,
        None if webhook.key == "source" else identity,
    )


def by_path(endpoints: Iterable[Endpoint]) -> Mapping[str, Endpoint]:
    """Return the endpoints by their path, which belongs to one source."""
    return {endpoint.path: endpoint for endpoint in endpoints}


def scheme_of(verify: Verify) -> Scheme:
    """Return the one scheme that is described."""
    match verify:
        case Verify(cloudinary=CloudinaryVerify() as given):
            return Cloudinary(tuple(given.secret), given.max_age_seconds)
        case Verify(sns=SnsVerify() as given):
            return Sns(frozenset(given.topics), given.confirm)
        case Verify(adobe=AdobeVerify() as given):
            return Adobe(given.client_id)
        case Verify(standard=StandardVerify() as given):
            return Standard(tuple(given.secret), given.max_age_seconds)
        case Verify(hmac=HmacVerify() as given):
            secrets = tuple(given.secret)
            header = given.header.lower()
            return BodyHmac(header, secrets, given.digest, given.encoding, given.prefix)
        case Verify(token=TokenVerify() as given):
            return Token(given.header.lower(), tuple(given.secret))
        case _:
            return Unverified()
