"""A certificate that is renewed while a server runs, as cert-manager does every few weeks."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from service.adapters.tls import ServedCertificate
from service.settings import SettingsError


def write(ca: trustme.CA, folder: Path, *, with_key: bool = True) -> bytes:
    """Write a new certificate, and its key; return the certificate in DER."""
    issued = ca.issue_cert("localhost")
    if with_key:
        issued.private_key_pem.write_to_path(str(folder / "tls.key"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    for name in ("tls.key", "tls.crt"):
        changed = (folder / name).stat().st_mtime_ns + 1_000_000_000
        os.utime(folder / name, ns=(changed, changed))
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


def made(folder: Path) -> ServedCertificate:
    return ServedCertificate("X__", folder / "tls.crt", folder / "tls.key")


@asynccontextmanager
async def listening(tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Accept connections with this context, and yield the port."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def shown(ca: trustme.CA, port: int) -> bytes | None:
    """Return the certificate that a new connection is shown, in DER."""
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
    )
    certificate: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return certificate


async def test_new_connections_are_shown_a_renewed_certificate(tmp_path: Path) -> None:
    ca = trustme.CA()
    first = write(ca, tmp_path)
    served = made(tmp_path)
    async with listening(served.context) as port:
        assert await shown(ca, port) == first
        assert served.renew() is False
        second = write(ca, tmp_path)
        assert served.renew() is True
        assert await shown(ca, port) == second
        assert served.renew() is False


@pytest.mark.parametrize("flaw", ["half of a pair", "not PEM", "missing"])
async def test_the_old_certificate_stays_until_the_new_one_can_be_used(
    tmp_path: Path, flaw: str
) -> None:
    """Where the two files are not replaced at once, a look may come in between."""
    ca = trustme.CA()
    first = write(ca, tmp_path)
    served = made(tmp_path)
    if flaw == "half of a pair":
        write(ca, tmp_path, with_key=False)
    elif flaw == "not PEM":
        (tmp_path / "tls.crt").write_text("not PEM")
    else:
        (tmp_path / "tls.crt").unlink()
    async with listening(served.context) as port:
        with pytest.raises(SettingsError, match="X__"):
            served.renew()
        assert await shown(ca, port) == first
        second = write(ca, tmp_path)
        assert served.renew() is True
        assert await shown(ca, port) == second
