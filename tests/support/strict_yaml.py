"""YAML whose maps name each key once: the usual loader takes the last of several in silence."""

from collections import Counter
from typing import Any

import yaml

_MAP = "tag:yaml.org,2002:map"
_MERGE = "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.SafeLoader):  # type: ignore[misc]  # no types
    """A loader that refuses a map in which a key stands twice; `<<` may override."""

    def construct_strict_map(self, node: yaml.MappingNode) -> dict[Any, Any]:
        written = Counter(key.value for key, _ in node.value if key.tag != _MERGE)
        if twice := [key for key, count in written.items() if count > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} twice", node.start_mark)
        found: dict[Any, Any] = self.construct_mapping(node, deep=True)
        return found


_StrictLoader.add_constructor(_MAP, _StrictLoader.construct_strict_map)


def read_all(text: str) -> list[Any]:
    """Return the documents in the text.

    Raises:
        yaml.YAMLError: the text is not YAML, or a map names a key twice.
    """
    return list(yaml.load_all(text, _StrictLoader))


def read(text: str) -> Any:  # noqa: ANN401 - YAML
    """Return the only document in the text; raises as `read_all` does."""
    (document,) = read_all(text)
    return document
