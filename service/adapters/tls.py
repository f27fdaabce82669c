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


class ServedCertificate:
    """The certificate of a server. It is read again when its files change, as at a renewal."""

    def __init__(self, variable: str, cert_file: Path, key_file: Path | None) -> None:
        """Read the files; the arguments are those of `serving`.

        Raises:
            SettingsError: a file cannot be read, or the two do not match.
        """
        self._files = (variable, cert_file, key_file)
        self._read_at = self._changed_at()
        self.context = serving(*self._files)

    def renew(self) -> bool:
        """Show the files' certificate to new connections; return whether the files had changed.

        Raises:
            SettingsError: the files have changed and cannot be used; the old certificate stays.
        """
        changed_at = self._changed_at()
        if changed_at == self._read_at:
            return False
        serving(*self._files)  # another context, since a half of a pair would spoil this one
        show_certificate(self.context, *self._files)
        self._read_at = changed_at
        return True

    def _changed_at(self) -> list[int | None]:
        _, *paths = self._files
        return [_changed_at(path) for path in paths if path is not None]


def _changed_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


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
