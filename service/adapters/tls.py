"""TLS contexts, for brokers and the PIM; a file that cannot be used is named."""

import ssl
from pathlib import Path

from service.settings import SettingsError


def context(
    variable: str,
    ca_file: Path | None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
    key_password: str | None = None,
) -> ssl.SSLContext:
    """The system's CAs, a private one, and a client's certificate where there is one.

    Args:
        variable: what the settings' names begin with, such as `ASSET_SYNC_KAFKA__SSL_`.
        ca_file: certificates in PEM.
        cert_file: the client's certificate chain in PEM.
        key_file: its key in PEM.
        key_password: of the key.

    Raises:
        SettingsError: a file cannot be read, or is not what it should be.
    """
    made = ssl.create_default_context()
    if ca_file is not None:
        try:
            made.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(_flaw(f"{variable}CA_FILE", ca_file, error)) from None
    if cert_file is not None:
        try:
            # A password that is asked for and not there must not be prompted for.
            made.load_cert_chain(cert_file, key_file, key_password or "")
        except (OSError, ssl.SSLError) as error:
            name = f"{variable}CERT_FILE, {variable}KEY_FILE"
            raise SettingsError(_flaw(name, cert_file, error)) from None
    return made


def _flaw(variable: str, path: Path, error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "no certificate in PEM"
        return f"{variable}: {path} cannot be used: {reason}."
    return f"{variable}: {path} cannot be read: {error.strerror}."
