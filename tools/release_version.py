"""Print the version of a release from its tag, if everything in the project agrees with it.

Run as `python tools/release_version.py v0.2.0`; needs nothing but the standard library.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAND_IN = re.compile(r"https?://[a-z.-]+\.example(?![a-z])")
PLACES: Mapping[str, str] = {
    "service/__init__.py": r'^__version__ = "(.+)"$',
    "deploy/helm/asset-sync/Chart.yaml": r"^version: (.+)$",
    "Dockerfile": r"^ARG VERSION=(.+)$",
}
"""Files that have the version, and how."""


def problems(tag: str, root: Path = ROOT) -> Iterator[str]:
    """Yield what has to be mended before this tag can be released."""
    version = tag.removeprefix("v")
    for name, pattern in PLACES.items():
        found = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        if found is None or found[1] != version:
            yield f"{name} has the version {found and found[1]}, the tag {tag}."
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        yield f"CHANGELOG.md has no heading `## {version} (YYYY-MM-DD)`."
    home = (root / "service/contracts/documents.py").read_text(encoding="utf-8")
    if STAND_IN.search(home):
        yield (
            "The project's address is a stand-in: set HOME in service/contracts/documents.py; its "
            "test names the other places."
        )


def main(tag: str) -> int:
    """Print the version; where something does not agree, print that instead."""
    if found := list(problems(tag)):
        print("\n".join(found), file=sys.stderr)
        return 1
    print(tag.removeprefix("v"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
