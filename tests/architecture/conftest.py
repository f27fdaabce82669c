"""Parse the code in peace: Python 3.11 cannot parse while it is parsing (cpython#106905)."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_garbage_is_collected() -> Iterator[None]:
    """Collect what earlier tests left before a test parses code, and nothing while it does.

    A future whose exception nobody took logs a traceback when it is collected, and for that Python
    parses the lines of the traceback: `ast.parse` fails if it is interrupted by itself.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()
