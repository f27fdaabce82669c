"""Explains why a port cannot be opened, which every program meets at its start."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from service.ports import FatalError
from service.settings import PREFIX


@contextmanager
def listening(host: str, port: int, section: str) -> Iterator[None]:
    """Explain an error of opening a port whose settings are in this section.

    Raises:
        FatalError: the port cannot be opened.
    """
    try:
        yield
    except OSError as error:
        raise FatalError(
            f"Cannot listen on {_address(host, port)}: {_cause(error)}. "
            f"Set {PREFIX}{section}__PORT or {PREFIX}{section}__HOST."
        ) from None


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cause(error: OSError) -> str:
    """Return the operating system's words, without those that asyncio puts around them."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno).lower()
