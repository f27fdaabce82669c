"""Runs a command that signals itself when it imports a module: `MODULE SIGNAL WORDS…`."""

import os
import runpy
import signal
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class Interruption(MetaPathFinder):
    """A finder that finds no module, and sends the signal when its module is looked for."""

    def __init__(self, module: str, number: int) -> None:
        self._module = module
        self._number = number

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> None:
        """Send the signal to this process, the first time that the module is looked for."""
        if fullname == self._module:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), self._number)


if __name__ == "__main__":
    module, name, *words = sys.argv[1:]
    sys.meta_path.insert(0, Interruption(module, signal.Signals[name]))
    sys.argv = ["asset-sync", *words]
    runpy.run_module("service", run_name="__main__")
