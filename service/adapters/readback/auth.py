"""How requests to a DAM are authorised without a token of OAuth 2.0."""

from collections.abc import Callable, Mapping

from service.adapters.oauth import basic
from service.mapping.file.hosts import Auth
from service.settings import SettingsError

ReadSecret = Callable[[str], str]
"""Returns the secret of a name, read anew; raises `SettingsError` if it cannot be read."""


def fixed_headers(auth: Auth | None, read_secret: ReadSecret) -> Mapping[str, str]:
    """Return the headers that authorise a request without a token of OAuth 2.0.

    Raises:
        SettingsError: a secret cannot be read, or has characters that no header can carry.
    """
    if auth is None:
        return {}
    if auth.basic is not None:
        name, password = read_secret(auth.basic.username), read_secret(auth.basic.password)
        return {"authorization": basic(name, password)}
    if auth.header is not None:
        return {auth.header.name: _for_header(auth.header.secret, read_secret)}
    if auth.bearer is not None:
        return {"authorization": "Bearer " + _for_header(auth.bearer, read_secret)}
    return {}


def _for_header(name: str, read_secret: ReadSecret) -> str:
    secret = read_secret(name)
    if not (secret.isascii() and secret.isprintable() and secret.strip() == secret != ""):
        raise SettingsError(
            f"The secret {name} cannot be sent in a header: it must be printable ASCII without "
            "spaces at its ends."
        )
    return secret
