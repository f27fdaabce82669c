"""TLS contexts, for brokers and the PIM; a file that cannot be used is named."""

import ssl
from pathlib import Path

from service.settings import SettingsError


def context(variable: str, ca_file: Path | None) -> ssl.SSLContext:
    """Make a context that trusts the system's CAs and a private one, where there is one.

    Args:
        variable: the setting of the file, such as `ASSET_SYNC_PIM__CA_FILE`.
        ca_file: certificates in PEM.

    Raises:
        SettingsError: the file cannot be read, or is not what it should be.
    """
    made = ssl.create_default_context()
    if ca_file is not None:
        try:
            made.load_verify_locations(ca_file)
        except (OSError, ValueError) as error:
            raise SettingsError(_flaw(variable, ca_file, error)) from None
    return made


def show_certificate(
    tls: ssl.SSLContext,
    variable: str,
    cert_file: Path | None,
    key_file: Path | None,
    key_password: str | None = None,
) -> None:
    """Show a client's certificate to whoever asks for one.

    Args:
        tls: the context that shows it.
        variable: what the settings' names begin with, such as `ASSET_SYNC_KAFKA__SSL_`.
        cert_file: the client's certificate chain in PEM; None: there is none.
        key_file: its key in PEM.
        key_password: of the key.

    Raises:
        SettingsError: a file cannot be read, or is not what it should be.
    """
    if cert_file is None:
        return
    try:
        # A password that is asked for and not there must not be prompted for.
        tls.load_cert_chain(cert_file, key_file, key_password or "")
    except (OSError, ValueError) as error:
        name = f"{variable}CERT_FILE, {variable}KEY_FILE"
        raise SettingsError(_flaw(name, cert_file, error)) from None


def _flaw(variable: str, path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "no certificate in PEM"
        return f"{variable}: {path} cannot be used: {reason}."
    if isinstance(error, OSError):
        return f"{variable}: {path} cannot be read: {error.strerror}."
    return f"{variable}: {path!r} cannot be used: {error}."
