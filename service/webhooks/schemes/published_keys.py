"""RSA signatures that are verified with a key which its owner publishes."""

from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PARSED_KEYS_MAX = 16
RSA_BITS_MAX = 8192
"""A larger key takes long to verify with; no publisher has one."""


@lru_cache(PARSED_KEYS_MAX)
def rsa_key(pem: bytes) -> RSAPublicKey | None:
    """Return the RSA key of a PEM file with a certificate or a public key; None for another file.

    Whether a certificate is genuine is not checked: it was fetched over verified TLS from the
    host that publishes it.
    """
    is_certificate = b"BEGIN CERTIFICATE" in pem
    key: object
    try:
        key = (
            x509.load_pem_x509_certificate(pem).public_key()
            if is_certificate
            else load_pem_public_key(pem)
        )
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) and key.key_size <= RSA_BITS_MAX else None


def is_rsa_signed(key: RSAPublicKey, signature: bytes, text: bytes, digest: HashAlgorithm) -> bool:
    """Return whether the signature (PKCS #1 v1.5) of the text verifies with the key."""
    try:
        key.verify(signature, text, PKCS1v15(), digest)
    except InvalidSignature:
        return False
    return True
