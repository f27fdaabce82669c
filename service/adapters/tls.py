"""TLS contexts for the brokers, the PIM and webhooks. Errors name the setting and the file."""

import ssl
from pathlib import Path

from service.settings import SettingsError


def context(variable: str, ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the CAs of the system and, if there is a file, its CAs too.

    Args:
        variable: the setting that names the file, such as `ASSET_SYNC_PIM__CA_FILE`.
        ca_file: the certificates of private CAs in PEM.

    Raises:
        SettingsError: the file cannot be read, or does not contain certificates in PEM.
    """
    made = ssl.create_default_context()
    if ca_file is not None:
        try:
            made.load_verify_locations(ca_file)
        except (OSError, ValueError) as error:
            raise SettingsError(_flaw(variable, ca_file, error)) from None
    return made


def serving(variable: str, cert_file: Path, key_file: Path | None) -> ssl.SSLContext:
    """Return a context for a server with this certificate.

    Args:
        variable: the beginning of the settings' names, such as `ASSET_SYNC_INGRESS__TLS_`.
        cert_file: the certificate chain in PEM.
        key_file: the private key in PEM.

    Raises:
        SettingsError: a file cannot be read, or the two do not match.
    """
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    show_certificate(made, variable, cert_file, key_file)
    return made


def show_certificate(
    tls: ssl.SSLContext,
    variable: str,
    cert_file: Path | None,
    key_file: Path | None,
    key_password: str | None = None,
) -> None:
    """Load a client certificate, which the context shows to a server that asks for one.

    Args:
        tls: the context to change.
        variable: the beginning of the settings' names, such as `ASSET_SYNC_KAFKA__SSL_`.
        cert_file: the certificate chain in PEM; with None, nothing is loaded.
        key_file: the private key in PEM.
        key_password: the password of the private key, if it is encrypted.

    Raises:
        SettingsError: a file cannot be read, the two do not match, or the password is wrong.
    """
    if cert_file is None:
        return
    try:
        # Without a password, OpenSSL would ask for one on the terminal and block the service.
        tls.load_cert_chain(cert_file, key_file, key_password or "")
    except (OSError, ValueError) as error:
        name = f"{variable}CERT_FILE, {variable}KEY_FILE"
        raise SettingsError(_flaw(name, cert_file, error)) from None


def _flaw(variable: str, path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "it is not a certificate in PEM"
        return f"{variable}: {path} cannot be used: {reason}."
    if isinstance(error, OSError):
        return f"{variable}: {path} cannot be read: {error.strerror}."
    return f"{variable}: {path!r} cannot be used: {error}."
