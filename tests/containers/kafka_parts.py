"""Copies the embedded broker's Java runtime and jars into a folder: `python -m … FOLDER`."""

import os
import shutil
import sys
from pathlib import Path

from service.playground.embedded_kafka import parts


def main() -> None:
    """Fill the build context of the broker's image."""
    folder = Path(sys.argv[1])
    java, classpath = parts()
    shutil.copytree(java.parent.parent, folder / "java-runtime")
    (folder / "jars").mkdir()
    for jar in classpath.split(os.pathsep):
        shutil.copy(jar, folder / "jars")


main()
