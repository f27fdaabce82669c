"""Give the package's description absolute links: an index shows README.md without its neighbours.

The build backend calls this (`tool.hatch.metadata.hooks` in pyproject.toml).
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s]+)\)")
"""The target of a Markdown link or image that is relative to README.md."""


class ReadmeLinks(MetadataHookInterface):
    """Fills in the metadata's `readme`."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        described = absolute(text, metadata["urls"]["Homepage"])
        metadata["readme"] = {"content-type": "text/markdown", "text": described}


def absolute(text: str, home: str) -> str:
    """Return the Markdown with links below the project's address instead of relative ones."""
    return LINK.sub(rf"]({home}/\1)", text)
