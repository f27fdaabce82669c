"""Sign a sample body as its DAM would, where the secret alone is enough for that."""

from collections.abc import Mapping

from service.webhooks.delivery import ReadSecret
from service.webhooks.schemes import cloudinary, standard
from service.webhooks.schemes.body_hmac import BodyHmac
from service.webhooks.schemes.cloudinary import Cloudinary
from service.webhooks.schemes.scheme import Scheme
from service.webhooks.schemes.standard import Standard
from service.webhooks.schemes.token import Token
from service.webhooks.schemes.unverified import Unverified


class NotSignableError(Exception):
    """The sample cannot be signed; the message says why and what to do."""


def sign(
    scheme: Scheme, body: bytes, read_secret: ReadSecret, message_id: str, utc_seconds: int
) -> Mapping[str, str]:
    """Return the headers with which the DAM would send this body, by the first secret listed.

    Raises:
        NotSignableError: the scheme needs a private key of the DAM, or the secret cannot be used.
    """
    match scheme:
        case Unverified():
            return {}
        case Cloudinary(secrets=(name, *_)):
            return cloudinary.signed(body, _secret(name, read_secret), utc_seconds)
        case BodyHmac(secrets=(name, *_)):
            return scheme.signed(body, _secret(name, read_secret))
        case Token(secrets=(name, *_)):
            return scheme.signed(_usable(scheme, name, _secret(name, read_secret)))
        case Standard(secrets=(name, *_)):
            try:
                secret = _secret(name, read_secret)
                return standard.signed(body, secret, message_id, utc_seconds)
            except ValueError as error:
                raise NotSignableError(
                    f"The secret {name} cannot sign: {error}. List a secret whsec_… first."
                ) from None
        case _:
            raise NotSignableError(
                f"The scheme {scheme.name} signs with a private key that only the DAM has: let the "
                "DAM send a test event, or try the mapping alone with `asset-sync mapping explain`."
            )


def _secret(name: str, read_secret: ReadSecret) -> str:
    secret = read_secret(name)
    if secret is None:
        raise NotSignableError(
            f"The secret {name} cannot be read: set ASSET_SYNC_SECRET__{name.upper()}, in UTF-8."
        )
    return secret


def _usable(scheme: Scheme, name: str, secret: str) -> str:
    flaw = scheme.flaw_of(secret)
    if flaw is not None:
        raise NotSignableError(f"The secret {name} {flaw}.")
    return secret
